// What of a drawing the pool can fill.
#pragma once

#include "TString.h"

#include <vector>

namespace dtpnode {

/// The columns of an expression, as TTree::Draw parts them: z, y, x.
std::vector<TString> columnsOf(const TString &expression);

/// Why a drawing is of single rows, which no histogram holds, so that only ROOT itself can draw it, in the process that
/// has the tree; null if the pool can.
const char *onlyOfRows(const char *varexp, Option_t *option);

} // namespace dtpnode
