// A selector's fStatus, which many processes have each a part of.
#pragma once

class TList;
class TObject;

namespace dtpnode {

/// What fStatus became in generations, in a form that sums up. Selectors set it in SlaveBegin, count in it what they
/// process, or set it to a negative number when something is wrong: each comes out as in one process. A positive number
/// that Process sets, rather than adds, counts once for each generation that set it.
struct Status {
  long long begun = 0; // after SlaveBegin, the same everywhere
  long long added = 0; // what came to it since, in all generations
  long long least = 0; // the lowest, if that is negative

  /// Notes that fStatus was begun, and ends as now.
  void end(long long now);
  bool isZero() const { return begun == 0 && added == 0 && least == 0; }
  /// Fills a list that merges as output lists do; it owns its objects.
  void write(TList &to) const;
  void read(const TObject &list);
  /// Keeps the numbers of a list so small that those of all lists of a merge can be added up: one that is wrong must
  /// not make a negative number of the sum.
  static void bound(TObject &list);
  /// The fStatus of a process that has done all, and in which Begin left before.
  long long from(long long before) const;
};

} // namespace dtpnode
