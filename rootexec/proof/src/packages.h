// Packages as this process builds them for itself.
#pragma once

#include <string>
#include <vector>

namespace dtpnode {

/// Unpacks and builds a PAR file, unless that was done before, and returns the package's folder; empty if it failed,
/// of which messages were printed. before are the folders of the packages that this one may be made of.
std::string buildPackage(const std::string &name, const std::string &par, const std::vector<std::string> &before);

} // namespace dtpnode
