#include "feedback.h"

#include "merge.h"
#include "rootguard.h"

#include <TAxis.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TParameter.h>
#include <TProfile.h>
#include <TProfile2D.h>
#include <TTree.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fnmatch.h>
#include <map>
#include <unistd.h>
#include <utility>

namespace dtpnode {

using nlohmann::json;

namespace {

// A picture has at most so many bins, which a terminal can draw: of one dimension, and of each of two.
constexpr int kBins = 200, kBins2 = 64;
// So many objects are described, and written, at most.
constexpr size_t kObjects = 64;

/// Trees have their baskets elsewhere, and a file that user code writes is no object of the list.
bool canBeShown(const TObject &o) {
  return !o.InheritsFrom(TTree::Class()) && !o.InheritsFrom("TProofOutputFile") && !o.InheritsFrom(TDirectory::Class());
}

double finite(double v) { return std::isfinite(v) ? v : 0; }

/// The bins of an axis in groups, so that there are at most so many.
struct Groups {
  Groups(const TAxis &axis, int most)
      : each((axis.GetNbins() + most - 1) / most), n((axis.GetNbins() + each - 1) / each), min(axis.GetXmin()),
        max(axis.GetBinUpEdge(axis.GetNbins())) {}
  json frame() const { return {{"bins", n}, {"min", finite(min)}, {"max", finite(max)}}; }
  int of(int bin) const { return (bin - 1) / each; }

  int each, n;
  double min, max;
};

/// Makes sums means where they are of a profile, and numbers of all: what is told has none that JSON does not have.
void average(std::vector<double> &sums, const std::vector<double> &weights, bool profile) {
  for (size_t i = 0; i < sums.size(); ++i)
    sums[i] = finite(profile && weights[i] != 0 ? sums[i] / weights[i] : sums[i]);
}

/// Means of a profile are averaged over the bins of a group, weighted by their entries; all else is summed up.
void drawOne(const TH1 &h, json &out) {
  const Groups x(*h.GetXaxis(), kBins);
  std::vector<double> values(x.n), weights(x.n);
  auto *profile = dynamic_cast<const TProfile *>(&h);
  for (int bin = 1; bin <= h.GetNbinsX(); ++bin) {
    const double weight = profile ? finite(profile->GetBinEntries(bin)) : 1;
    values[x.of(bin)] += finite(h.GetBinContent(bin) * weight);
    weights[x.of(bin)] += weight;
  }
  average(values, weights, profile);
  out["x"] = x.frame();
  out["values"] = values;
  out["under"] = finite(h.GetBinContent(0));
  out["over"] = finite(h.GetBinContent(h.GetNbinsX() + 1));
}

/// Row by row, from the lowest y.
void drawTwo(const TH1 &h, json &out) {
  const Groups x(*h.GetXaxis(), kBins2), y(*h.GetYaxis(), kBins2);
  std::vector<double> values(static_cast<size_t>(x.n) * y.n), weights(values.size());
  auto *profile = dynamic_cast<const TProfile2D *>(&h);
  for (int by = 1; by <= h.GetNbinsY(); ++by)
    for (int bx = 1; bx <= h.GetNbinsX(); ++bx) {
      const size_t at = static_cast<size_t>(y.of(by)) * x.n + x.of(bx);
      const double weight = profile ? finite(profile->GetBinEntries(h.GetBin(bx, by))) : 1;
      values[at] += finite(h.GetBinContent(bx, by) * weight);
      weights[at] += weight;
    }
  average(values, weights, profile);
  out["x"] = x.frame();
  out["y"] = y.frame();
  out["values"] = values;
}

json picture(TObject &o) {
  json out{{"name", o.GetName()}, {"class", o.ClassName()}, {"title", o.GetTitle()}, {"entries", -1.0}};
  if (auto *number = dynamic_cast<TParameter<Long64_t> *>(&o)) out["text"] = std::to_string(number->GetVal());
  if (auto *number = dynamic_cast<TParameter<int> *>(&o)) out["text"] = std::to_string(number->GetVal());
  if (auto *number = dynamic_cast<TParameter<double> *>(&o)) out["text"] = std::to_string(number->GetVal());
  auto *h = dynamic_cast<TH1 *>(&o);
  if (!h) return out;
  h->BufferEmpty(1); // limits that are to be found yet are those of what is there
  out["entries"] = finite(h->GetEntries());
  if (h->GetDimension() <= 2) {
    out["mean"] = finite(h->GetMean());
    out["rms"] = finite(h->GetStdDev());
  }
  if (h->GetDimension() == 1) drawOne(*h, out);
  if (h->GetDimension() == 2) drawTwo(*h, out);
  return out;
}

/// Inputs merged name by name, handed on object by object.
template <typename F>
json mergeWanted(const json &request, RootGuard &guard, F take) {
  const Wanted wanted(request);
  json left = json::array();
  Merger merger(request.at("inputs"), guard, Hints(), &wanted);
  Merger::Group group;
  size_t taken = 0;
  while (merger.next(group)) {
    uint32_t ordinal = group.ordinal;
    for (auto &o : group.objects) {
      if (taken < kObjects || isOurs(group.name)) {
        take(*o, group.name, ordinal++, group.apart);
        taken += isOurs(group.name) ? 0 : 1;
      } else
        left.push_back(group.name);
    }
  }
  for (const std::string &name : merger.left())
    left.push_back(name);
  return {{"units", merger.units()}, {"canary", merger.canary()}, {"left", left}};
}

json pick(const json &request, RootGuard &guard) {
  BlobWriter blob(request.at("path"));
  json out = mergeWanted(request, guard, [&](TObject &o, const std::string &name, uint32_t ordinal, bool apart) {
    blob.add(o, name, ordinal, apart);
  });
  blob.finish();
  out["op"] = "picked";
  return out;
}

json show(const json &request, RootGuard &guard) {
  const std::string path = request.at("path");
  const std::string temp = path + ".tmp" + std::to_string(::getpid());
  TDirectory::TContext keepDirectory;
  guard.clear();
  std::unique_ptr<TFile> file(TFile::Open(temp.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) throw Failure("disk", "could not write " + temp + ": " + guard.firstError());
  json pictures = json::array();
  json out = mergeWanted(request, guard, [&](TObject &o, const std::string &name, uint32_t, bool) {
    if (isOurs(name)) return;
    pictures.push_back(picture(o));
    file->WriteTObject(&o, o.GetName());
  });
  file->Close();
  if (file->TestBit(TFile::kWriteError) || guard.diskFull() || std::rename(temp.c_str(), path.c_str()) != 0) {
    ::unlink(temp.c_str());
    throw Failure("disk", "could not write " + path);
  }
  out["op"] = "shown";
  out["pictures"] = pictures;
  return out;
}

} // namespace

Wanted::Wanted(const json &request)
    : patterns_(request.at("names").get<std::vector<std::string>>()), most_(request.at("most")) {}

bool Wanted::matches(const std::string &name) const {
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&](const std::string &p) { return ::fnmatch(p.c_str(), name.c_str(), 0) == 0; });
}

json snapshot(const json &request, const TList &output, long long units, uint64_t canary) {
  // What was too large once hardly becomes smaller, and is not written again and again to find that out.
  static std::map<std::pair<std::string, std::string>, uint64_t> tooLarge;
  const Wanted wanted(request);
  BlobWriter blob(request.at("path"));
  blob.add(TParameter<Long64_t>(kUnits, units), kUnits, 0, false);
  blob.add(TParameter<Long64_t>(kCanary, static_cast<Long64_t>(canary)), kCanary, 0, false);
  std::map<std::pair<std::string, std::string>, uint32_t> seen;
  json left = json::array();
  size_t taken = 0;
  TIter next(&output);
  while (TObject *o = next()) {
    const std::string name = o->GetName();
    if (!wanted.matches(name)) continue;
    const std::pair<std::string, std::string> key{name, o->ClassName()};
    const uint32_t ordinal = seen[key]++;
    const auto known = tooLarge.find(key);
    const bool large = known != tooLarge.end() && known->second >= wanted.most();
    if (taken < kObjects && !large && canBeShown(*o)) {
      if (blob.addWithin(*o, name, ordinal, wanted.most())) {
        ++taken;
        continue;
      }
      tooLarge[key] = wanted.most();
    }
    left.push_back(name);
  }
  blob.finish();
  return {{"op", "snapped"}, {"id", request.at("id")}, {"units", units}, {"left", left}};
}

json view(const json &request, RootGuard &guard) {
  const std::string op = request.at("op");
  if (op == "pick") return pick(request, guard);
  if (op == "show") return show(request, guard);
  throw Failure("internal", "viewer asked for " + op);
}

} // namespace dtpnode
