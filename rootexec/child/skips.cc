#include "skips.h"

#include <TList.h>
#include <TParameter.h>
#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <vector>

namespace dtpnode {

using nlohmann::json;

namespace {

std::string skipName(const char *what, const SkipKey &key) {
  return std::string(what) + '\n' + std::to_string(key.base) + '\n' + key.file + '\n' + key.tree;
}

std::vector<std::string> linesOf(const char *text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

} // namespace

void Skips::note(const SkipKey &key, long long first, long long last, long long end, long long at,
                 const std::string &step, const std::string &reason) {
  auto [it, fresh] = of_.try_emplace(key);
  Skip &s = it->second;
  s.entries += last - first;
  if (fresh || first < s.first) {
    s.first = first;
    s.at = at;
    s.step = step;
    s.reason = reason;
  }
  s.end = std::max(s.end, end);
}

void Skips::add(const TObject &object) {
  const auto *list = dynamic_cast<const TList *>(&object);
  if (!list) return;
  std::map<SkipKey, long long> abortAt;
  TIter next(list);
  while (TObject *o = next()) {
    const auto *number = dynamic_cast<const TParameter<Long64_t> *>(o);
    std::vector<std::string> name = linesOf(o->GetName());
    if (name.size() == 3) name.emplace_back(); // of a tree without a name
    if (!number || name.size() < 4) continue;
    const SkipKey key{std::atoll(name[1].c_str()), name[2], name[3]};
    Skip &s = of_[key];
    if (name[0] == "entries") s.entries = number->GetVal();
    if (name[0] == "first") s.first = number->GetVal();
    if (name[0] == "end") s.end = number->GetVal();
    if (name[0] != "abort" || name.size() < 6) continue;
    // Where several have aborted, the first entry that did is the one that counts.
    const long long at = std::atoll(name[4].c_str());
    const auto known = abortAt.find(key);
    if (known != abortAt.end() && known->second <= at) continue;
    abortAt[key] = at;
    s.at = at;
    s.step = name[5];
    s.reason = name.size() > 6 ? name[6] : "";
  }
}

bool Skips::within(long long units) const {
  long long left = units;
  for (const auto &[key, s] : of_) {
    if (s.entries < 0 || s.entries > left || s.first < 0 || s.end < s.first) return false;
    left -= s.entries;
  }
  return of_.size() <= static_cast<size_t>(std::max(units, 0LL));
}

void Skips::list(TList &out) const {
  out.SetOwner();
  for (const auto &[key, s] : of_) {
    out.Add(new TParameter<Long64_t>(skipName("entries", key).c_str(), s.entries, '+'));
    out.Add(new TParameter<Long64_t>(skipName("first", key).c_str(), s.first, 'm'));
    out.Add(new TParameter<Long64_t>(skipName("end", key).c_str(), s.end, 'M'));
    const std::string how = skipName("abort", key) + '\n' + std::to_string(s.at) + '\n' + s.step + '\n' + s.reason;
    out.Add(new TParameter<Long64_t>(how.c_str(), 0, 'f'));
  }
}

void Skips::tell(json &reply) const {
  constexpr size_t most = 100;   // files named
  constexpr size_t bytes = 4096; // of a text
  long long entries = 0;
  json files = json::array();
  for (const auto &[key, s] : of_) {
    entries += s.entries;
    if (files.size() < most)
      files.push_back({{"file", key.file.substr(0, bytes)}, {"part", key.tree.substr(0, bytes)},
                       {"first", s.first}, {"entries", s.entries},
                       {"entry", s.at}, {"step", s.step.substr(0, bytes)}, {"reason", s.reason.substr(0, bytes)},
                       {"ran", std::max(0LL, s.end - s.first - s.entries)}});
  }
  reply["skipped"] = files;
  reply["skippedfiles"] = of_.size();
  reply["skippedentries"] = entries;
}

} // namespace dtpnode
