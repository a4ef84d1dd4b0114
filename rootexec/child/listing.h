// What objects in files name: inputs, and entries of them.
#pragma once

#include <nlohmann/json.hpp>

namespace dtpnode {

class RootGuard;

/// Answers the request list {file, object}: reads a TChain, a TFileCollection, a TEntryList or a TEventList, and says
/// what it names. With an empty name the file must hold one such object alone. Throws Failure "open" if the file cannot
/// be read, "schema" if there is no such object, and "ambiguous" if there are several.
nlohmann::json listObject(const nlohmann::json &request, RootGuard &guard);

} // namespace dtpnode
