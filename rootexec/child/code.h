// What a selector's own library needs beside it: packages, libraries, further sources, folders of headers.
#pragma once

#include "channel.h"

#include <string>
#include <vector>

namespace dtpnode {

/// Makes ready in this process what code names (the keys of the "code" map in protocol.h), in the order in which a user
/// of ROOT would: folders of headers, SETUP.C of the packages, libraries, and the libraries that were compiled of
/// further sources. Throws Failure "code".
void loadCode(const nlohmann::json &code);

/// Loads one library as gSystem->Load does. Throws Failure "code" that names what the loader did not find.
void loadLibrary(const std::string &path);

/// The files of the libraries that loadCode has loaded or compiled, without those of packages.
std::vector<std::string> librariesOf(const nlohmann::json &code);

/// Functions that the libraries call, which are bound when they are first called, and which nothing in this process
/// defines: such a call would end the process. Throws Failure "code" that names them.
void requireSymbols(const std::vector<std::string> &libraries);

} // namespace dtpnode
