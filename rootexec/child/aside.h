// What happens to a file whose name another one is to have.
#pragma once

#include <string>

namespace dtpnode {

/// Gives a file a name that nothing has. False, with errno, if it cannot: EEXIST if something has the name. Where the
/// file system knows no second name of a file, as FAT, the file loses the one that it had.
bool nameAnew(const std::string &path, const std::string &name);

/// Whether the file at path has the same bytes as an open one: where file systems keep no marks of what was written by
/// whom, what is written a second time needs no copy of the first.
bool sameContent(int fd, const std::string &path);

} // namespace dtpnode
