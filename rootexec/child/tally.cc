#include "tally.h"

#include <TClonesArray.h>
#include <TEfficiency.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TFileCollection.h>
#include <TGraph.h>
#include <TH1.h>
#include <THnBase.h>
#include <TStatistic.h>
#include <TTree.h>
#include <cmath>
#include <limits>

namespace dtpnode {

namespace {

/// Lists of entries: what several lists have is once in their union.
bool isSet(const TObject &o) {
  return o.InheritsFrom(TEntryList::Class()) || o.InheritsFrom(TEventList::Class());
}

bool allEmpty(const TH1 &h) {
  for (int i = 0; i < h.GetNcells(); ++i)
    if (h.GetBinContent(i) != 0) return false;
  return true;
}

// Histograms whose bins are all empty are passed over by a merge, with the entries that they count: those with weight 0
// and those that cancel each other out.
bool onlyEmpty(TObject &into, const Objects &others, double want) {
  auto *h = dynamic_cast<TH1 *>(&into);
  if (!h) return false;
  double passed = 0;
  for (const auto &o : others) {
    auto &other = static_cast<TH1 &>(*o);
    if (allEmpty(other)) passed += other.GetEntries();
  }
  const double got = h->GetEntries();
  if (passed == 0 || std::abs(want - got - passed) > 0.5) return false;
  h->SetEntries(want);
  return true;
}

} // namespace

double tallyOf(const TObject &object) {
  auto *o = const_cast<TObject *>(&object);
  if (auto *h = dynamic_cast<TH1 *>(o)) return h->GetEntries();
  if (auto *tree = dynamic_cast<TTree *>(o)) return static_cast<double>(tree->GetEntries());
  if (auto *graph = dynamic_cast<TGraph *>(o)) return graph->GetN();
  if (auto *array = dynamic_cast<TClonesArray *>(o)) return array->GetEntries();
  if (auto *h = dynamic_cast<THnBase *>(o)) return h->GetEntries();
  if (auto *e = dynamic_cast<TEfficiency *>(o))
    return e->GetTotalHistogram() ? e->GetTotalHistogram()->GetEntries() : 0;
  if (auto *list = dynamic_cast<TEntryList *>(o)) return static_cast<double>(list->GetN());
  if (auto *list = dynamic_cast<TEventList *>(o)) return list->GetN();
  if (auto *s = dynamic_cast<TStatistic *>(o)) return static_cast<double>(s->GetN());
  return std::numeric_limits<double>::quiet_NaN();
}

bool tallied(TObject &into, const Objects &others, const std::function<bool()> &merge) {
  const double before = tallyOf(into);
  double sum = before, most = before;
  for (const auto &o : others) {
    const double n = tallyOf(*o);
    sum += n;
    most = std::max(most, n);
  }
  if (!merge()) return false;
  if (std::isnan(sum)) return true;
  const double got = tallyOf(into);
  if (isSet(into)) return got >= most && got <= sum;
  // Entries of histograms are counted in double precision, and may have been set to anything.
  if (std::abs(got - sum) <= 0.5 + 1e-9 * std::abs(sum)) return true;
  return onlyEmpty(into, others, sum);
}

} // namespace dtpnode
