// Entry lists that selectors fill.
#pragma once

class TCollection;

namespace dtpnode {

/// Makes the counts of all TEntryLists in list, at any depth, agree with their contents. TEntryListBlock
/// does not count the entry with which it goes back from its packed form, as it does when a generation
/// returns to an earlier part of a file: the list would lose its last entry.
void recountEntryLists(const TCollection &list);

} // namespace dtpnode
