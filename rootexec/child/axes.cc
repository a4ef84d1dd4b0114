#include "axes.h"

#include "limits.h"

#include <TArray.h>
#include <TArrayD.h>
#include <TAxis.h>
#include <TCollection.h>
#include <TH1.h>
#include <TH2.h>
#include <TH3.h>
#include <THStack.h>
#include <THashList.h>
#include <TList.h>
#include <TObjString.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TProfile3D.h>
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <unordered_map>

namespace dtpnode {

namespace {

constexpr int kMostPending = 1 << 20; // entries that stay in a buffer until limits are known
constexpr int kMostDoublings = 64;
constexpr int kMostLabels = 1 << 16;   // of an axis
constexpr int kMostBins = 1 << 24;     // of an axis that a merge makes
constexpr double kMostWider = 1 << 20; // times, a bin than the narrowest that is merged

struct HistAccess : TH1 {
  static auto buffer() { return &HistAccess::fBuffer; }
  static auto bufferSize() { return &HistAccess::fBufferSize; }
};

template <class P>
struct ProfileAccess : P {
  static const TArrayD &entries(const P &p) { return p.*(&ProfileAccess::fBinEntries); }
};

} // namespace

namespace {

template <class P>
bool profileIsSound(P &p, long long cells) {
  const int errors = p.GetBinSumw2()->GetSize();
  return ProfileAccess<P>::entries(p).GetSize() == cells && (errors == 0 || errors == cells);
}

/// How many numbers an entry has in a buffer: its weight, its coordinates, and what is profiled.
int widthOf(const TH1 &h) {
  const bool profile = h.InheritsFrom(TProfile::Class()) || h.InheritsFrom(TProfile2D::Class()) ||
                       h.InheritsFrom(TProfile3D::Class());
  return 1 + h.GetDimension() + (profile ? 1 : 0);
}

bool bufferIsSound(const TH1 &h) {
  if (!h.GetBuffer()) return true;
  const double n = std::abs(h.GetBuffer()[0]);
  return h.GetBufferSize() > 0 && n >= 0 && n * widthOf(h) < h.GetBufferSize();
}

} // namespace

TAxis &axisOf(TH1 &h, int d) {
  return d == 0 ? *h.GetXaxis() : d == 1 ? *h.GetYaxis() : *h.GetZaxis();
}

bool hasVariableBins(TH1 &h) {
  for (int d = 0; d < h.GetDimension(); ++d)
    if (axisOf(h, d).GetXbins()->GetSize() > 0) return true;
  return false;
}

bool hasLimits(TH1 &h) {
  for (int d = 0; d < h.GetDimension(); ++d)
    if (!(axisOf(h, d).GetXmin() < axisOf(h, d).GetXmax())) return false;
  return true;
}

bool isSound(const TObject &object) {
  TList one;
  one.Add(const_cast<TObject *>(&object));
  const std::vector<TH1 *> all = histogramsIn(one);
  one.Clear("nodelete"); // lists delete objects that were drawn, though they do not own them
  for (TH1 *h : all) {
    if (h->InheritsFrom("TH2Poly")) continue;
    long long cells = 1;
    for (int d = 0; d < h->GetDimension(); ++d) {
      const long long bins = axisOf(*h, d).GetNbins();
      if (bins < 1 || bins > INT32_MAX - 2) return false;
      cells *= bins + 2;
      if (cells > INT32_MAX) return false;
    }
    const auto *array = dynamic_cast<const TArray *>(h);
    const int kept = h->GetSumw2N();
    if (cells != h->GetNcells() || (array && array->GetSize() != cells) || (kept != 0 && kept != cells)) return false;
    if (auto *p = dynamic_cast<TProfile *>(h); p && !profileIsSound(*p, cells)) return false;
    if (auto *p = dynamic_cast<TProfile2D *>(h); p && !profileIsSound(*p, cells)) return false;
    if (auto *p = dynamic_cast<TProfile3D *>(h); p && !profileIsSound(*p, cells)) return false;
    for (int d = 0; d < h->GetDimension(); ++d) {
      const int edges = axisOf(*h, d).GetXbins()->GetSize();
      if (edges != 0 && edges != axisOf(*h, d).GetNbins() + 1) return false;
    }
    if (!bufferIsSound(*h)) return false;
  }
  return true;
}

namespace {

int pendingIn(const TH1 &h) {
  return h.GetBuffer() ? static_cast<int>(std::abs(h.GetBuffer()[0])) : 0;
}

bool hasLabels(TH1 &h, int d) {
  const TAxis &axis = axisOf(h, d);
  return axis.GetLabels() && axis.GetLabels()->GetSize() > 0 && (axis.IsAlphanumeric() || axis.CanExtend());
}

bool sameAxes(TH1 &a, TH1 &b) {
  for (int d = 0; d < a.GetDimension(); ++d) {
    const TAxis &x = axisOf(a, d), &y = axisOf(b, d);
    if (x.GetNbins() != y.GetNbins() || x.GetXmin() != y.GetXmin() || x.GetXmax() != y.GetXmax()) return false;
  }
  return true;
}

bool sameAlong(const std::vector<TH1 *> &all, int d) {
  const TAxis &x = axisOf(*all[0], d);
  return std::all_of(all.begin(), all.end(), [&](TH1 *h) {
    const TAxis &y = axisOf(*h, d);
    return x.GetNbins() == y.GetNbins() && x.GetXmin() == y.GetXmin() && x.GetXmax() == y.GetXmax();
  });
}

/// The ends of the bins along an axis that hold anything.
std::pair<double, double> filled(TH1 &h, int d) {
  const TAxis &axis = axisOf(h, d);
  int first = axis.GetNbins() + 1, last = 0;
  for (int cell = 0; cell < h.GetNcells(); ++cell) {
    if (h.GetBinContent(cell) == 0 && h.GetBinError(cell) == 0) continue;
    int at[3] = {0, 0, 0};
    h.GetBinXYZ(cell, at[0], at[1], at[2]);
    if (at[d] < 1 || at[d] > axis.GetNbins()) continue;
    first = std::min(first, at[d]);
    last = std::max(last, at[d]);
  }
  if (first > last) return {axis.GetXmin(), axis.GetXmin()};
  return {axis.GetBinLowEdge(first), axis.GetBinUpEdge(last)};
}

/// The histogram with the widest bins along an axis, of several the one that begins lowest: the same in any order.
TH1 &widest(const std::vector<TH1 *> &all, int d) {
  return **std::min_element(all.begin(), all.end(), [d](TH1 *a, TH1 *b) {
    const TAxis &x = axisOf(*a, d), &y = axisOf(*b, d);
    const double u = (x.GetXmax() - x.GetXmin()) / x.GetNbins(), v = (y.GetXmax() - y.GetXmin()) / y.GetNbins();
    return u != v ? u > v : x.GetXmin() < y.GetXmin();
  });
}

// As TH1::ExtendAxis does for entries that lie outside.
bool extendTo(Axis &axis, double low, double high) {
  double range = axis.high - axis.low;
  for (int n = 0; low < axis.low || high > axis.high; ++n) {
    if (n > kMostDoublings || !(range > 0)) return false;
    if (low < axis.low)
      axis.low -= range;
    else
      axis.high += range;
    range *= 2;
  }
  return true;
}

// Adds whole bins on both sides, and pairs bins up while there are far more than there were.
bool widenTo(Axis &axis, double low, double high, int most) {
  for (int n = 0; n <= kMostDoublings; ++n) {
    const double w = axis.width();
    const double before = std::ceil((axis.low - low) / w - 1e-9), behind = std::ceil((high - axis.high) / w - 1e-9);
    const double bins = axis.bins + std::max(before, 0.) + std::max(behind, 0.);
    if (!std::isfinite(bins)) return false;
    if (bins <= most) {
      axis.low -= std::max(before, 0.) * w;
      axis.high += std::max(behind, 0.) * w;
      axis.bins = static_cast<int>(bins);
      return true;
    }
    if (axis.bins % 2 == 1) {
      axis.high += w;
      ++axis.bins;
    }
    axis.bins /= 2;
  }
  return false;
}

/// Whether axes can be one without a loss that nobody would want: a process that has found limits a million times as
/// wide as those of another would leave all entries in one bin.
bool joinable(const std::vector<TH1 *> &all, int d) {
  double least = 0;
  for (TH1 *h : all) {
    const TAxis &axis = axisOf(*h, d);
    const double width = (axis.GetXmax() - axis.GetXmin()) / axis.GetNbins();
    if (!std::isfinite(width) || !(width > 0) || axis.GetNbins() > kMostBins) return false;
    if (axis.CanExtend()) continue; // it went where its entries are, as in one process
    least = least > 0 ? std::min(least, width) : width;
  }
  return std::all_of(all.begin(), all.end(), [&](TH1 *h) {
    const TAxis &axis = axisOf(*h, d);
    return axis.CanExtend() || (axis.GetXmax() - axis.GetXmin()) / axis.GetNbins() <= kMostWider * least;
  });
}

bool numbers(const std::vector<TH1 *> &all, int d, Axis &out) {
  if (!joinable(all, d)) return false;
  const TAxis &base = axisOf(widest(all, d), d);
  out.bins = base.GetNbins();
  out.low = base.GetXmin();
  out.high = base.GetXmax();
  for (TH1 *h : all) {
    const TAxis &axis = axisOf(*h, d);
    if (axis.GetXmin() == out.low && axis.GetXmax() == out.high) continue;
    if (base.CanExtend()) {
      const auto [low, high] = filled(*h, d);
      if (low < high && !extendTo(out, low, high)) return false;
    } else if (!widenTo(out, axis.GetXmin(), axis.GetXmax(), std::min(8 * base.GetNbins(), kMostBins))) {
      return false;
    }
  }
  return true;
}

/// The labels of the bins of an axis, by their numbers; "" where there is none. ROOT would look through all of them for
/// each.
std::vector<std::string> labelsOf(const TAxis &axis) {
  std::vector<std::string> out(static_cast<size_t>(axis.GetNbins()) + 2);
  if (axis.GetLabels())
    for (const TObject *o : *axis.GetLabels())
      if (o->GetUniqueID() >= 1 && o->GetUniqueID() < out.size() - 1) out[o->GetUniqueID()] = o->GetName();
  return out;
}

// Bins for labels double when there are too few. Those of a histogram that was deflated are as many as its labels.
// False for more labels than ROOT could give to an axis within a minute.
bool labels(const std::vector<TH1 *> &all, int d, Axis &out) {
  bool deflated = true;
  std::set<std::string> known;
  for (TH1 *h : all) {
    const TAxis &axis = axisOf(*h, d);
    if (!axis.GetLabels()) continue;
    for (const std::string &label : labelsOf(axis))
      if (!label.empty() && known.insert(label).second) out.labels.push_back(label);
    deflated = deflated && axis.GetLabels()->GetSize() == axis.GetNbins();
  }
  const TAxis &first = axisOf(*all[0], d);
  const double width = (first.GetXmax() - first.GetXmin()) / first.GetNbins();
  out.low = first.GetXmin();
  out.bins = 1;
  for (TH1 *h : all)
    out.bins = std::max(out.bins, axisOf(*h, d).GetNbins());
  const int n = static_cast<int>(out.labels.size());
  if (deflated)
    out.bins = std::max(n, 1);
  while (out.bins < n)
    out.bins *= 2;
  out.high = out.low + out.bins * width;
  return n <= kMostLabels && out.bins <= kMostBins && std::isfinite(out.high) && out.low < out.high;
}

} // namespace

void setAxes(TH1 &h, const std::vector<Axis> &axes) {
  const Axis &x = axes[0];
  if (axes.size() == 1)
    h.SetBins(x.bins, x.low, x.high);
  else if (axes.size() == 2)
    h.SetBins(x.bins, x.low, x.high, axes[1].bins, axes[1].low, axes[1].high);
  else
    h.SetBins(x.bins, x.low, x.high, axes[1].bins, axes[1].low, axes[1].high, axes[2].bins, axes[2].low, axes[2].high);
  for (size_t d = 0; d < axes.size(); ++d) {
    if (axes[d].labels.empty()) continue;
    TAxis &axis = axisOf(h, static_cast<int>(d));
    if (axis.GetLabels()) axis.GetLabels()->Delete();
    // As when ROOT gives out the labels itself: entries have no place along such an axis then.
    if (axis.CanExtend()) axis.SetAlphanumeric();
    for (size_t i = 0; i < axes[d].labels.size(); ++i)
      axis.SetBinLabel(static_cast<int>(i) + 1, axes[d].labels[i].c_str());
  }
}

namespace {

/// Where each bin of an axis goes in another.
std::vector<int> places(const TAxis &from, const TAxis &to, const Axis &how) {
  std::vector<int> out(static_cast<size_t>(from.GetNbins()) + 2);
  out.back() = to.GetNbins() + 1;
  std::unordered_map<std::string, int> known;
  for (const std::string &label : how.labels)
    known.emplace(label, static_cast<int>(known.size()) + 1);
  const std::vector<std::string> mine = labelsOf(from);
  for (int i = 1; i <= from.GetNbins(); ++i) {
    int &place = out[static_cast<size_t>(i)];
    const std::string label = how.labels.empty() ? "" : mine[static_cast<size_t>(i)];
    if (!label.empty()) {
      place = known.at(label);
    } else {
      place = to.FindFixBin(from.GetBinCenter(i));
    }
  }
  return out;
}

template <class P>
void addProfileCell(P &to, int at, P &from, int cell) {
  static_cast<TArrayD &>(to)[at] += static_cast<TArrayD &>(from)[cell];
  to.GetSumw2()->AddAt(to.GetSumw2()->At(at) + from.GetSumw2()->At(cell), at);
  const double entries = from.GetBinEntries(cell);
  const bool mine = to.GetBinSumw2()->GetSize() > at, its = from.GetBinSumw2()->GetSize() > cell;
  const double weights = mine ? to.GetBinSumw2()->At(at) + (its ? from.GetBinSumw2()->At(cell) : entries) : 0;
  to.SetBinEntries(at, to.GetBinEntries(at) + entries); // which takes all weights to be one
  if (mine) to.GetBinSumw2()->AddAt(weights, at);
}

void addCell(TH1 &to, int at, TH1 &from, int cell) {
  if (auto *p = dynamic_cast<TProfile *>(&to)) return addProfileCell(*p, at, static_cast<TProfile &>(from), cell);
  if (auto *p = dynamic_cast<TProfile2D *>(&to)) return addProfileCell(*p, at, static_cast<TProfile2D &>(from), cell);
  if (auto *p = dynamic_cast<TProfile3D *>(&to)) return addProfileCell(*p, at, static_cast<TProfile3D &>(from), cell);
  const double content = from.GetBinContent(cell);
  if (content != 0) to.AddBinContent(at, content);
  if (to.GetSumw2N() > 0) {
    const double w2 = from.GetSumw2N() > 0 ? from.GetSumw2()->At(cell) : std::abs(content);
    to.GetSumw2()->AddAt(to.GetSumw2()->At(at) + w2, at);
  }
}

void addCells(TH1 &to, TH1 &from, const std::vector<Axis> &axes) {
  std::vector<std::vector<int>> at(3, {0});
  for (size_t d = 0; d < axes.size(); ++d) {
    const int n = static_cast<int>(d);
    at[d] = places(axisOf(from, n), axisOf(to, n), axes[d]);
  }
  for (size_t z = 0; z < at[2].size(); ++z)
    for (size_t y = 0; y < at[1].size(); ++y)
      for (size_t x = 0; x < at[0].size(); ++x)
        addCell(to, to.GetBin(at[0][x], at[1][y], at[2][z]), from,
                from.GetBin(static_cast<int>(x), static_cast<int>(y), static_cast<int>(z)));
}

/// Fills entries that have waited in buffers.
void refill(TH1 &to, const std::vector<double> &entries) {
  const size_t width = static_cast<size_t>(widthOf(to));
  for (size_t at = 0; at + width <= entries.size(); at += width) {
    const double *p = entries.data() + at;
    if (auto *h = dynamic_cast<TProfile3D *>(&to))
      h->Fill(p[1], p[2], p[3], p[4], p[0]);
    else if (auto *h = dynamic_cast<TProfile2D *>(&to))
      h->Fill(p[1], p[2], p[3], p[0]);
    else if (auto *h = dynamic_cast<TProfile *>(&to))
      h->Fill(p[1], p[2], p[0]);
    else if (auto *h = dynamic_cast<TH3 *>(&to))
      h->Fill(p[1], p[2], p[3], p[0]);
    else if (auto *h = dynamic_cast<TH2 *>(&to))
      h->Fill(p[1], p[2], p[0]);
    else
      to.Fill(p[1], p[0]);
  }
}

/// The entries in the buffer of a histogram, in the form of the buffer.
std::vector<double> entriesOf(const TH1 &h) {
  const double *p = h.GetBuffer();
  return p ? std::vector<double>(p + 1, p + 1 + widthOf(h) * pendingIn(h)) : std::vector<double>();
}

void dropBuffer(TH1 &h) {
  delete[] (h.*HistAccess::buffer());
  h.*HistAccess::buffer() = nullptr;
  h.*HistAccess::bufferSize() = 0;
}

/// Whether bins without a label hold anything, on an axis where others have one.
bool mixesLabels(TH1 &h, int d) {
  if (!hasLabels(h, d)) return false;
  const std::vector<std::string> mine = labelsOf(axisOf(h, d));
  for (int cell = 0; cell < h.GetNcells(); ++cell) {
    if (h.GetBinContent(cell) == 0) continue;
    int at[3] = {0, 0, 0};
    h.GetBinXYZ(cell, at[0], at[1], at[2]);
    const TAxis &axis = axisOf(h, d);
    if (at[d] >= 1 && at[d] <= axis.GetNbins() && mine[static_cast<size_t>(at[d])].empty()) return true;
  }
  return false;
}

/// Appends the buffers of others, none of which has limits, to that of into.
void appendBuffers(TH1 &into, const std::vector<TH1 *> &others, int all) {
  const size_t width = static_cast<size_t>(widthOf(into)), room = static_cast<size_t>(all) + 1;
  double *&buffer = into.*HistAccess::buffer();
  int &size = into.*HistAccess::bufferSize();
  if (static_cast<size_t>(size) < 1 + width * room) {
    auto *more = new double[1 + width * room](); // ROOT deletes it in this way
    if (buffer) std::memcpy(more, buffer, sizeof(double) * static_cast<size_t>(size));
    delete[] buffer;
    buffer = more;
    size = static_cast<int>(1 + width * room);
  }
  for (TH1 *h : others) {
    const size_t n = static_cast<size_t>(pendingIn(*h));
    if (n == 0) continue;
    std::memcpy(buffer + 1 + width * static_cast<size_t>(buffer[0]), h->GetBuffer() + 1, sizeof(double) * width * n);
    buffer[0] += static_cast<double>(n);
  }
}

/// How many bins have a sum of squared weights. A profile has two arrays: the one that a histogram has always exists.
int weightedBins(TH1 &h) {
  if (auto *p = dynamic_cast<TProfile *>(&h)) return p->GetBinSumw2()->GetSize();
  if (auto *p = dynamic_cast<TProfile2D *>(&h)) return p->GetBinSumw2()->GetSize();
  if (auto *p = dynamic_cast<TProfile3D *>(&h)) return p->GetBinSumw2()->GetSize();
  return h.GetSumw2N();
}

/// Gives into the axes, with what it and the others hold.
void mergeInto(TH1 &into, const std::vector<TH1 *> &set, const std::vector<Axis> &axes) {
  double sum[TH1::kNstat] = {}, one[TH1::kNstat] = {};
  double entries = 0;
  bool weighted = false;
  for (TH1 *h : set) {
    h->GetStats(one);
    for (int i = 0; i < TH1::kNstat; ++i)
      sum[i] += one[i];
    entries += h->GetEntries();
    weighted = weighted || weightedBins(*h) > 0;
  }
  std::unique_ptr<TH1> mine(static_cast<TH1 *>(into.Clone()));
  mine->SetDirectory(nullptr);
  into.Reset("ICES");
  setAxes(into, axes);
  if (weighted && weightedBins(into) == 0) into.Sumw2();
  for (TH1 *h : set)
    addCells(into, h == &into ? *mine : *h, axes);
  into.PutStats(sum);
  into.SetEntries(entries);
}

bool extends(TH1 &h) {
  for (int d = 0; d < h.GetDimension(); ++d)
    if (axisOf(h, d).CanExtend()) return true;
  return false;
}

/// Whether the axes of histograms with limits want more than ROOT's merge.
bool wanted(const std::vector<TH1 *> &set) {
  TH1 &first = *set[0];
  bool differ = false, changing = false, labelled = false;
  for (TH1 *h : set) {
    differ = differ || !sameAxes(first, *h);
    changing = changing || h->TestBit(kAutoLimits) || extends(*h);
    for (int d = 0; d < h->GetDimension(); ++d)
      labelled = labelled || hasLabels(*h, d);
  }
  return labelled || (differ && changing);
}

/// Whether some of the histograms with limits, and not all that are merged, have other axes than all processes of the
/// job were told. With strict it is enough that any has.
bool anyOdd(const std::vector<TH1 *> &set, const std::vector<TH1 *> &all) {
  LimitsFinder &finder = LimitsFinder::install();
  const std::vector<Axis> *told = nullptr;
  for (TH1 *h : all)
    if (!told) told = finder.announcedFor(*h);
  const bool found = std::any_of(set.begin(), set.end(), [](TH1 *h) { return h->TestBit(kAutoLimits); });
  if (!told || !found || std::all_of(set.begin(), set.end(), [](TH1 *h) { return extends(*h); })) return false;
  size_t odd = 0;
  for (TH1 *h : set)
    for (int d = 0; d < h->GetDimension(); ++d) {
      const Axis &want = told->at(static_cast<size_t>(d));
      const TAxis &axis = axisOf(*h, d);
      if (axis.GetNbins() == want.bins && axis.GetXmin() == want.low && axis.GetXmax() == want.high) continue;
      ++odd;
      break;
    }
  if (odd == 0 || (odd == all.size() && !finder.strict())) return false;
  finder.noteOdd(set[0]->GetName());
  return true;
}

std::vector<Axis> commonAxes(const std::vector<TH1 *> &set, bool &possible) {
  std::vector<Axis> out(static_cast<size_t>(set[0]->GetDimension()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int d = static_cast<int>(i);
    if (std::any_of(set.begin(), set.end(), [d](TH1 *h) { return hasLabels(*h, d); }))
      possible = possible && labels(set, d, out[i]);
    else
      possible = possible && numbers(set, d, out[i]);
  }
  return out;
}

} // namespace

namespace {

template <class P>
bool weighsBins(const TH1 &h) {
  const auto *p = dynamic_cast<const P *>(&h);
  return p && const_cast<P *>(p)->GetBinSumw2()->GetSize() > 0;
}

/// Whether a profile has been filled with weights, of which it keeps the squares in an array that others do not have.
bool isWeightedProfile(const TH1 &h) {
  return weighsBins<TProfile>(h) || weighsBins<TProfile2D>(h) || weighsBins<TProfile3D>(h);
}

} // namespace

void keepWeights(TH1 &into, const Objects &others) {
  if (isWeightedProfile(into)) return;
  if (std::any_of(others.begin(), others.end(), [](const auto &o) {
        const auto *h = dynamic_cast<const TH1 *>(o.get());
        return h && isWeightedProfile(*h);
      }))
    into.Sumw2();
}

AxesMerge mergeAxes(TH1 &into, const Objects &others) {
  if (into.TestBit(TH1::kAutoBinPTwo) || into.InheritsFrom("TH2Poly")) return AxesMerge::NotNeeded;
  std::vector<TH1 *> all{&into}, set, unset;
  for (const auto &o : others)
    all.push_back(static_cast<TH1 *>(o.get()));
  int pending = 0;
  for (TH1 *h : all) {
    if (h->GetDimension() != into.GetDimension()) return AxesMerge::NotNeeded;
    (hasLimits(*h) ? set : unset).push_back(h);
    if (!hasLimits(*h)) pending += pendingIn(*h);
  }
  if (set.empty()) {
    appendBuffers(into, {unset.begin() + 1, unset.end()}, pending);
    if (pending > kMostPending) into.BufferEmpty(1);
    return AxesMerge::Done;
  }
  for (TH1 *h : set)
    if (h->GetBuffer()) h->BufferEmpty(1);
  const bool variable = std::any_of(all.begin(), all.end(), [](TH1 *h) { return hasVariableBins(*h); });
  if (!variable && anyOdd(set, all)) return AxesMerge::Impossible;
  if (!variable)
    for (int d = 0; d < into.GetDimension(); ++d)
      if (!sameAlong(set, d) && !joinable(set, d)) return AxesMerge::Impossible; // ROOT would join what it can compare
  if ((unset.empty() && !wanted(set)) || variable) return AxesMerge::NotNeeded;
  for (TH1 *h : set)
    for (int d = 0; d < into.GetDimension(); ++d)
      if (mixesLabels(*h, d)) return AxesMerge::NotNeeded;
  bool possible = true;
  const std::vector<Axis> axes = commonAxes(set, possible);
  if (!possible) return AxesMerge::Impossible;
  std::vector<double> waiting;
  for (TH1 *h : unset) {
    const std::vector<double> its = entriesOf(*h);
    waiting.insert(waiting.end(), its.begin(), its.end());
  }
  if (!hasLimits(into)) dropBuffer(into);
  const bool found = std::any_of(set.begin(), set.end(), [](TH1 *h) { return h->TestBit(kAutoLimits); });
  const bool own = std::any_of(set.begin(), set.end(), [&](TH1 *h) {
    return h->TestBit(kOwnLimits) || (h->TestBit(kAutoLimits) && !extends(*h) && !sameAxes(*h, *set[0]));
  });
  mergeInto(into, set, axes);
  refill(into, waiting);
  into.SetBit(kAutoLimits, found);
  into.SetBit(kOwnLimits, own);
  return AxesMerge::Done;
}

std::vector<TH1 *> histogramsIn(const TCollection &list) {
  std::vector<TH1 *> out;
  const auto more = [&out](const TCollection *inner) {
    if (!inner) return;
    const std::vector<TH1 *> its = histogramsIn(*inner);
    out.insert(out.end(), its.begin(), its.end());
  };
  for (TObject *o : list) {
    if (auto *h = dynamic_cast<TH1 *>(o))
      out.push_back(h);
    else if (auto *inner = dynamic_cast<TCollection *>(o))
      more(inner);
    else if (auto *stack = dynamic_cast<THStack *>(o))
      more(stack->GetHists());
  }
  return out;
}

std::vector<std::string> finishAxes(const TCollection &output) {
  std::vector<std::string> own;
  for (TH1 *h : histogramsIn(output)) {
    if (!hasLimits(*h) && pendingIn(*h) >= TH1::GetDefaultBufferSize()) h->BufferEmpty(1);
    const bool told = std::find(own.begin(), own.end(), h->GetName()) != own.end();
    if (h->TestBit(kOwnLimits) && !told) own.push_back(h->GetName());
    h->ResetBit(kAutoLimits);
    h->ResetBit(kOwnLimits);
  }
  return own;
}

} // namespace dtpnode
