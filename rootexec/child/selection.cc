#include "selection.h"

#include "guard.h"

#include <TTree.h>
#include <fstream>
#include <iterator>

namespace dtpnode {

using nlohmann::json;

namespace {

/// The elements of a list, which Go sends as null if it is empty.
json elements(const json &of, const char *name) {
  const auto it = of.find(name);
  return it == of.end() || it->is_null() ? json::array() : *it;
}

} // namespace

long long Friend::entries() const {
  long long n = 0;
  for (const File &f : files)
    n += f.entries;
  return n;
}

Selection::Selection(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || bytes.empty()) throw Failure("disk", "could not read the lists of entries and friends in " + path);
  const json all = json::from_msgpack(bytes);
  for (const json &list : elements(all, "lists")) {
    std::vector<uint8_t> &runs = lists_[{list.at("file"), list.at("part")}];
    if (list.at("runs").is_binary()) runs = list.at("runs").get_binary();
  }
  for (const json &from : elements(all, "friends")) {
    Friend f{from.at("alias"), from.at("part"), {}, {}};
    for (const json &expression : elements(from, "key"))
      f.key.push_back(expression);
    for (const json &file_ : elements(from, "files"))
      f.files.push_back({file_.at("file"), file_.at("part"), file_.at("entries"), file_.value("uuid", "")});
    friends_.push_back(std::move(f));
  }
  for (const json &alias : elements(all, "aliases"))
    aliases_.emplace_back(alias.at("n"), alias.at("v"));
}

std::shared_ptr<const Chosen> Selection::of(const std::string &url, const std::string &tree) const {
  const auto it = lists_.find({url, tree});
  return std::make_shared<const Chosen>(it == lists_.end() ? std::vector<uint8_t>{} : it->second);
}

void Selection::setAliases(TTree &tree) const {
  for (const auto &[name, expression] : aliases_)
    tree.SetAlias(name.c_str(), expression.c_str());
}

} // namespace dtpnode
