// Code that may crash, tried in a process of its own whose end costs nothing.
#pragma once

#include <functional>
#include <string>

class TObject;

namespace dtpnode {

/// Calls f in a forked process. Returns an empty text if f returns true there, and otherwise what happened: that it
/// returned false, threw, crashed, ended its process or took more than seconds. Nothing that f changes is seen here.
std::string tried(const std::function<bool()> &f, unsigned seconds = 60);

/// True if two objects stream to the same bytes.
bool sameBytes(const TObject &a, const TObject &b);

} // namespace dtpnode
