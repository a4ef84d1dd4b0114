// Histograms whose axes change while they are filled: their limits are found or extended, or they get labels. Two
// generations may have changed theirs in other ways, which ROOT's own merge refuses, or loses entries of.
#pragma once

#include "combine.h"

class TAxis;
class TCollection;
class TH1;

namespace dtpnode {

/// Bits of histograms, which no class of ROOT's uses: the limits were found from entries; and they were so without an
/// announcement, so that other processes may have found others. finishAxes() takes them away.
constexpr unsigned kAutoLimits = 1u << 23, kOwnLimits = 1u << 22;

/// An axis of bins of one width.
struct Axis {
  int bins = 1;
  double low = 0, high = 1;
  std::vector<std::string> labels; // of the bins from the first on; empty for an axis of numbers
  double width() const { return (high - low) / bins; }
};

/// The axis of a histogram, d from 0 on.
TAxis &axisOf(TH1 &h, int d);
/// False for a histogram that is still to find limits of its axes.
bool hasLimits(TH1 &h);
/// True if bins of some axis have widths of their own, as the user has given them.
bool hasVariableBins(TH1 &h);
/// Gives an empty histogram axes, one for each dimension.
void setAxes(TH1 &h, const std::vector<Axis> &axes);
/// The histograms in a list, and in lists and stacks within it.
std::vector<TH1 *> histogramsIn(const TCollection &list);

/// False if histograms in an object, or the object, have other bins than their axes say. ROOT reads such ones without a
/// word, and would write behind their ends or take all memory; no process makes any.
bool isSound(const TObject &object);

/// What mergeAxes did.
enum class AxesMerge {
  NotNeeded, // the histograms can be left to ROOT
  Done,      // into has all
  Impossible // into may be spoilt
};

/// Merges histograms of one class into into by axes of their own making:
///  - Those that have not found their limits yet keep all entries until some have, in a buffer that grows.
///  - An axis that can be extended is extended by doubling, as if entries had come that lie where another has some.
///  - An axis whose limits were found has those of all, in bins of the widest; a bin goes where its centre lies.
///  - Bins with labels meet by their labels.
AxesMerge mergeAxes(TH1 &into, const Objects &others);

/// Has a profile keep squares of weights where others do, before they are merged into it. ROOT's own merge takes their
/// sums for those of the squares where the first profile is empty or had weights of 1 alone.
void keepWeights(TH1 &into, const Objects &others);

/// Ends what mergeAxes and the finder of limits leave open in an output: histograms with more entries in their buffer
/// than ROOT would have kept find their limits, and the marks go. Returns the names of histograms whose limits were
/// found without an announcement.
std::vector<std::string> finishAxes(const TCollection &output);

} // namespace dtpnode
