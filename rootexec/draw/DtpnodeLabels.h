// Bins of text: each process gives bins to labels as they come, and merges meet by labels. What is drawn has them in the
// order in which one process would have met them.
#pragma once

#include "DtpnodeDraw.h"

#include <TArray.h>
#include <TArrayD.h>
#include <TAxis.h>
#include <TH1.h>
#include <THashList.h>
#include <TList.h>
#include <TObjString.h>
#include <TProfile.h>
#include <TProfile2D.h>

#include <algorithm>
#include <climits>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace dtpnodelabels {

inline TAxis &axisOf(TH1 &h, size_t axis)
{
   return axis == 0 ? *h.GetXaxis() : axis == 1 ? *h.GetYaxis() : *h.GetZaxis();
}

inline const char *nameOf(size_t axis) { return axis == 0 ? "X" : axis == 1 ? "Y" : "Z"; }

// The labels of an axis by their bins; empty where there is none.
inline std::vector<std::string> labelsOf(TAxis &axis)
{
   std::vector<std::string> out(static_cast<size_t>(axis.GetNbins()) + 2);
   if (axis.GetLabels())
      for (TObject *o : *axis.GetLabels())
         if (o->GetUniqueID() < out.size())
            out[o->GetUniqueID()] = o->GetName();
   return out;
}

// Moves numbers of cells to where others were.
inline void permute(TArray *array, const std::vector<int> &from)
{
   if (!array || array->GetSize() != static_cast<int>(from.size()))
      return;
   std::vector<double> old(from.size());
   for (size_t i = 0; i < from.size(); ++i)
      old[i] = array->GetAt(static_cast<int>(i));
   for (size_t i = 0; i < from.size(); ++i)
      array->SetAt(old[static_cast<size_t>(from[i])], static_cast<int>(i));
}

template <class P>
void permuteProfile(TH1 &h, const std::vector<int> &from)
{
   auto *p = dynamic_cast<P *>(&h);
   if (!p)
      return;
   std::vector<double> old(from.size());
   for (size_t i = 0; i < from.size(); ++i)
      old[i] = p->GetBinEntries(static_cast<int>(i));
   TArrayD squares(*p->GetBinSumw2());
   permute(&squares, from);
   for (size_t i = 0; i < from.size(); ++i)
      p->SetBinEntries(static_cast<int>(i), old[static_cast<size_t>(from[i])]);
   if (squares.GetSize() > 0) // which the entries have taken the place of
      *p->GetBinSumw2() = squares;
}

// Gives an axis its bins in another order: bin i + 1 becomes what order[i] was.
inline void reorder(TH1 &h, size_t axis, const std::vector<int> &order)
{
   std::vector<int> from(static_cast<size_t>(h.GetNcells()));
   for (int cell = 0; cell < h.GetNcells(); ++cell) {
      int at[3] = {0, 0, 0};
      h.GetBinXYZ(cell, at[0], at[1], at[2]);
      if (at[axis] >= 1 && at[axis] <= static_cast<int>(order.size()))
         at[axis] = order[static_cast<size_t>(at[axis]) - 1];
      from[static_cast<size_t>(cell)] = h.GetBin(at[0], at[1], at[2]);
   }
   permute(dynamic_cast<TArray *>(&h), from);
   permute(h.GetSumw2(), from);
   permuteProfile<TProfile>(h, from);
   permuteProfile<TProfile2D>(h, from);
   TAxis &a = axisOf(h, axis);
   std::vector<TObject *> labels(order.size());
   for (TObject *o : *a.GetLabels()) // each bin has one
      labels[o->GetUniqueID() - 1] = o;
   std::vector<TObject *> moved;
   for (int bin : order)
      moved.push_back(labels[static_cast<size_t>(bin) - 1]);
   a.GetLabels()->Clear("nodelete");
   for (size_t i = 0; i < moved.size(); ++i) {
      moved[i]->SetUniqueID(static_cast<UInt_t>(i) + 1);
      a.GetLabels()->Add(moved[i]);
   }
}

// Sets the sums along an axis anew, of which a bin's place is a part; what was summed along others alone stays exact,
// and products of both are those of the bins' centres.
inline void sumAgain(TH1 &h, size_t axis)
{
   static const std::vector<int> parts[] = {{2, 3, 6, 9}, {4, 5, 6, 10}, {7, 8, 9, 10}};
   double sums[TH1::kNstat] = {}, fresh[TH1::kNstat] = {};
   const double entries = h.GetEntries();
   h.GetStats(sums);
   h.ResetStats();
   h.GetStats(fresh);
   const int dims = h.InheritsFrom(TProfile::Class()) ? 1 : h.GetDimension();
   for (int i : parts[axis])
      if ((dims > 1 || i < 4) && (dims > 2 || i < 7))
         sums[i] = fresh[i];
   h.PutStats(sums);
   h.SetEntries(entries);
}

// Takes bins without a label off an axis of text, and gives it the order of those that are first: the labels of old,
// and then the others by the drawing, entry and element that had them first.
inline void finish(TH1 &h, size_t axis, TH1 *old, const std::vector<const DtpnodeLabels *> &seen)
{
   TAxis &a = axisOf(h, axis);
   if (!a.GetLabels())
      return;
   h.LabelsDeflate(nameOf(axis));
   a.SetCanExtend(false); // as TTree::Draw leaves it, and so that its bins have places in the sums
   const std::vector<std::string> labels = labelsOf(a);
   if (a.GetLabels()->GetSize() != a.GetNbins() || std::count(labels.begin(), labels.end(), "") != 2)
      return; // it has bins of the user's own
   std::map<std::string, std::vector<Long64_t>> firsts;
   if (old) {
      const std::vector<std::string> before = labelsOf(axisOf(*old, axis));
      for (size_t bin = 1; bin + 1 < before.size(); ++bin)
         firsts.emplace(before[bin], std::vector<Long64_t>{-1, static_cast<Long64_t>(bin), 0});
   }
   for (size_t k = 0; k < seen.size(); ++k)
      for (size_t i = 0; seen[k] && i < seen[k]->fLabels.size(); ++i)
         firsts.emplace(seen[k]->fLabels[i], std::vector<Long64_t>{static_cast<Long64_t>(k), seen[k]->fEntries[i],
                                                                   seen[k]->fElements[i]});
   std::vector<int> order(static_cast<size_t>(a.GetNbins()));
   for (size_t i = 0; i < order.size(); ++i)
      order[i] = static_cast<int>(i) + 1;
   std::stable_sort(order.begin(), order.end(), [&](int x, int y) {
      return firsts[labels[static_cast<size_t>(x)]] < firsts[labels[static_cast<size_t>(y)]];
   });
   reorder(h, axis, order);
   sumAgain(h, axis);
}

} // namespace dtpnodelabels
