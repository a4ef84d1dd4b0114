// Limits of histograms that find them from their first entries: announced to all generations of a job, so that all
// find the same ones. They are those that ROOT finds in one process, for they are found by running the job's first
// entries, in their order, before it begins.
#pragma once

#include "axes.h"
#include "compat.h"

#include <THLimitsFinder.h>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace dtpnode {

/// What the first entries of a job have shown of its histograms, by what these are called and how many bins they were
/// made with.
class Announced {
 public:
  Announced() = default;
  /// Reads what text() has written. Throws what a JSON parser throws.
  explicit Announced(const std::string &text);
  std::string text() const; // JSON; empty if there is nothing to announce

  static std::string keyOf(TH1 &h);
  bool empty() const { return found.empty() && begun.empty(); }

  std::map<std::string, std::vector<Axis>> found; // axes of histograms that had no limits
  std::map<std::string, std::vector<Axis>> begun; // axes that can be extended, as far as they were
};

/// Finds limits for histograms as ROOT does, but for those that are announced, and remembers what it has found.
class LimitsFinder : public THLimitsFinder {
 public:
  /// Makes one the finder of this process. It is never destroyed.
  static LimitsFinder &install();
  /// Gives ROOT the finder back that it had before.
  static void remove();

  /// Where merges are strict, histograms are odd that all have other axes than announced; else those that others do not
  /// agree with.
  void announce(Announced announced, bool strict = false);
  bool strict() const { return strict_; }
  /// The axes that are announced for a histogram of this name, class and number of bins; null for none.
  const std::vector<Axis> *announcedFor(TH1 &h) const;
  /// Notes that merged histograms of a name had not all the axes that were announced.
  void noteOdd(const std::string &name);
  const std::set<std::string> &odd() const { return odd_; }
  const Announced &announced() const { return announced_; }
  const std::map<std::string, std::vector<Axis>> &found() const { return found_; }
  /// Gives the histograms that SlaveBegin has made axes as they are announced; those that have nothing to go by keep
  /// more entries before they find limits.
  void prepare(const TCollection &output) const;

  Int_t FindGoodLimits(TH1 *h, Double_t xmin, Double_t xmax) override;
  Int_t DTPNODE_GOOD_LIMITS_XY(TH1 *h, Double_t xmin, Double_t xmax, Double_t ymin,
                               Double_t ymax DTPNODE_BINS_XY) override;
  Int_t DTPNODE_GOOD_LIMITS_XYZ(TH1 *h, Double_t xmin, Double_t xmax, Double_t ymin, Double_t ymax, Double_t zmin,
                                Double_t zmax DTPNODE_BINS_XYZ) override;

 private:
  template <class F>
  Int_t find(TH1 &h, F root);

  Announced announced_;
  std::map<std::string, std::vector<Axis>> found_;
  THLimitsFinder *before_ = nullptr;
  bool strict_ = false;
  std::set<std::string> odd_;
};

/// Watches the histograms of an output while the first entries of a job run.
class LimitsTrial {
 public:
  /// Takes those that are still to change their axes; output is as SlaveBegin, or Init, has left it.
  void watch(const TCollection &output);
  bool wanted() const { return !watched_.empty(); }
  /// True when all that had no limits have found some, and those that can be extended had entries enough.
  bool done(const TCollection &output, long long entries) const;
  Announced result(const TCollection &output, const LimitsFinder &finder) const;

 private:
  std::map<TH1 *, std::string> watched_; // by key
};

} // namespace dtpnode
