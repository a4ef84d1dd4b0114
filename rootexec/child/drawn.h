// The histogram of a selector that TTree::MakeProxy generates: it is no object of the output list, but fObject.
#pragma once

class TObject;
class TSelector;

namespace dtpnode {

class SelectorClass;

/// The name under which the members of an output list tell which object of it fObject was.
constexpr const char *kDrawn = "TSelector::fObject";

/// Adds the histogram that fObject points at to the selector's output list, and returns it: null if fObject is no
/// histogram that a member of the selector points at too, as in MakeProxy's code, or is in the list already.
TObject *addDrawn(TSelector &selector, const SelectorClass &cls);

} // namespace dtpnode
