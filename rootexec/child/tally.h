// What an object counts, so that a merge that loses something is noticed.
#pragma once

#include "combine.h"

namespace dtpnode {

/// How many entries, points or elements an object holds, which merges add up. NaN for classes that count nothing.
double tallyOf(const TObject &object);

/// Merges others into into by merge, and returns what that returns; false if into does not hold afterwards what all of
/// them held before.
bool tallied(TObject &into, const Objects &others, const std::function<bool()> &merge);

} // namespace dtpnode
