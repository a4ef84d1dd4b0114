// The place of a tree among those of all files of a job, for selectors that ask for it.
#pragma once

class TList;

namespace dtpnode {

/// Names of parameters of the type Long64_t in fInput. Who adds one in Begin, with whatever value, finds in it at each
/// Init() the number that the first entry of the tree has over all files of the job, as a chain of them counts: the sum
/// of the entries of the files before, whether they are run or not.
constexpr const char *kFirstEntry = "dtpnode.first";
/// And in this one, how many entries all files have.
constexpr const char *kAllEntries = "dtpnode.entries";

/// Sets those of the two that are in a list.
void tellPlace(TList &input, long long first, long long entries);

} // namespace dtpnode
