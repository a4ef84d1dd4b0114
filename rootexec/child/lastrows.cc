#include "lastrows.h"

#include "input.h"

#include <TError.h>
#include <TFriendElement.h>
#include <TList.h>
#include <TTree.h>
#include <TVirtualIndex.h>
#include <vector>

namespace dtpnode {

void LastRows::read(Input &in, long long n) {
  TList *friends = in.chain ? in.chain->GetListOfFriends() : nullptr;
  if (!friends) return;
  if (const std::string at = in.url + '\n' + in.path; at != at_) {
    at_ = at;
    gaps_.clear();
  }
  std::vector<std::pair<TTree *, long long>> rows;
  bool moved = false;
  TIter next(friends);
  while (auto *element = static_cast<TFriendElement *>(next())) {
    TTree *beside = element->GetTree();
    TVirtualIndex *index = beside ? beside->GetTreeIndex() : nullptr;
    if (!index) continue;
    Gap &gap = gaps_[beside];
    long long k = n, row = -1;
    while (k >= 0) {
      if (k >= gap.first && k < gap.last) {
        k = gap.first - 1;
        continue;
      }
      moved = true;
      in.chain->GetTree()->LoadTree(in.entryOf(k));
      row = index->GetEntryNumberFriend(in.chain);
      if (row >= 0) break;
      --k;
    }
    if (k < n) gap = {k + 1, n + 1};
    if (k < n && row >= 0) rows.emplace_back(beside, row);
    if (row < 0 && (used_ || in.start > 0) && told_.insert({at_, element->GetName()}).second)
      Warning("dtpnode",
              "the friend %s has no row for the first entries of %s: what SetBranchAddress() has set shows there what this "
              "process has read before, and not what one process for all files would. Look whether there is a row, by "
              "TTree::GetEntryNumberWithIndex() or the status of the TTreeReader",
              element->GetName(), in.url.c_str());
  }
  used_ = true;
  if (!moved) return;
  for (auto &[beside, row] : rows)
    row = beside->LoadTree(row);
  in.load(in.entryOf(n)); // sets the addresses of the friends' trees, and their entries to none
  for (const auto &[beside, row] : rows)
    if (row >= 0) beside->GetTree()->GetEntry(row);
}

} // namespace dtpnode
