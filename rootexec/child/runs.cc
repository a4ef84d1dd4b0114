#include "runs.h"

#include "guard.h"

#include <TEntryList.h>
#include <algorithm>

namespace dtpnode {

namespace {

void appendVarint(std::vector<uint8_t> &out, uint64_t n) {
  for (; n >= 0x80; n >>= 7)
    out.push_back(static_cast<uint8_t>(n) | 0x80);
  out.push_back(static_cast<uint8_t>(n));
}

/// Reads a varint at at, which it moves behind it.
long long readVarint(const std::vector<uint8_t> &in, size_t &at) {
  uint64_t n = 0;
  for (int shift = 0; at < in.size() && shift < 62; shift += 7) {
    const uint8_t b = in[at++];
    n |= uint64_t{b & 0x7fu} << shift;
    if (b < 0x80) return static_cast<long long>(n);
  }
  throw Failure("internal", "a list of entries is damaged");
}

} // namespace

std::vector<uint8_t> encodeRuns(std::vector<long long> entries) {
  std::sort(entries.begin(), entries.end());
  std::vector<uint8_t> out;
  long long next = 0;
  for (size_t i = 0; i < entries.size();) {
    const long long first = entries[i];
    long long n = 0;
    for (; i < entries.size() && entries[i] <= first + n; ++i)
      if (entries[i] == first + n) ++n;
    appendVarint(out, static_cast<uint64_t>(first - next));
    appendVarint(out, static_cast<uint64_t>(n));
    next = first + n;
  }
  return out;
}

Chosen::Chosen(const std::vector<uint8_t> &runs) {
  long long next = 0;
  for (size_t at = 0; at < runs.size();) {
    const long long gap = readVarint(runs, at), n = readVarint(runs, at);
    constexpr long long most = 1LL << 61;
    if (n == 0 || gap > most || n > most || next > most) throw Failure("internal", "a list of entries is damaged");
    const long long first = next + gap;
    next = first + n;
    runs_.push_back({first, next, size_});
    size_ += n;
  }
}

long long Chosen::entry(long long n) const {
  if (n < 0 || n >= size_) throw Failure("internal", "an entry is asked for that is not in the list of entries");
  auto it = std::upper_bound(runs_.begin(), runs_.end(), n, [](long long v, const Run &r) { return v < r.number; });
  --it;
  return it->first + n - it->number;
}

long long Chosen::before(long long entry) const {
  auto it = std::upper_bound(runs_.begin(), runs_.end(), entry, [](long long v, const Run &r) { return v < r.first; });
  if (it == runs_.begin()) return 0;
  --it;
  return it->number + std::min(entry, it->last) - it->first;
}

void Chosen::fill(TEntryList &list) const {
  for (const Run &r : runs_)
    for (long long e = r.first; e < r.last; ++e)
      list.Enter(e);
}

} // namespace dtpnode
