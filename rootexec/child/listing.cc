#include "listing.h"

#include "input.h"
#include "rootguard.h"
#include "runs.h"

#include <TChain.h>
#include <TChainElement.h>
#include <TEntryList.h>
#include <TEventList.h>
#include <TFile.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TFriendElement.h>
#include <THashList.h>
#include <TKey.h>
#include <TUrl.h>

namespace dtpnode {

using nlohmann::json;

namespace {

bool namesInputs(const TClass *cls) {
  if (!cls) return false;
  for (const TClass *known : {TChain::Class(), TFileCollection::Class(), TEntryList::Class(), TEventList::Class()})
    if (cls->InheritsFrom(known)) return true;
  return false;
}

Failure noSuchObject(const TFile &file, const std::string &msg) {
  Failure f("schema", msg);
  f.step = "open";
  f.file = file.GetName();
  return f;
}

/// The names of all objects at the top of a file that name inputs or entries, with their classes.
std::vector<std::pair<std::string, std::string>> listersIn(TFile &file) {
  std::vector<std::pair<std::string, std::string>> out;
  TIter next(file.GetListOfKeys());
  while (auto *key = static_cast<TKey *>(next())) {
    if (!namesInputs(TClass::GetClass(key->GetClassName()))) continue;
    if (out.empty() || out.back().first != key->GetName()) out.emplace_back(key->GetName(), key->GetClassName());
  }
  return out;
}

std::unique_ptr<TObject> findLister(TFile &file, std::string &name) {
  const auto there = listersIn(file);
  if (name.empty()) {
    if (there.empty())
      throw noSuchObject(file, "no TChain, TFileCollection, TEntryList or TEventList is in the file");
    if (there.size() > 1) {
      std::string all;
      for (const auto &[known, cls] : there)
        all += (all.empty() ? "" : ", ") + known + " (" + cls + ")";
      Failure f = noSuchObject(file, "the file holds more than one, name it as FILE:NAME: " + all);
      f.kind = "ambiguous";
      throw f;
    }
    name = there[0].first;
  }
  std::unique_ptr<TObject> object(static_cast<TObject *>(file.GetObjectChecked(name.c_str(), TObject::Class())));
  if (!object) {
    std::string all;
    for (const auto &[known, cls] : there)
      all += (all.empty() ? "; there is: " : ", ") + known + " (" + cls + ")";
    throw noSuchObject(file, "no object \"" + name + "\" in the file" + all);
  }
  if (!namesInputs(object->IsA()))
    throw noSuchObject(file, "\"" + name + "\" is a " + object->ClassName() +
                                 ", and not a TChain, TFileCollection, TEntryList or TEventList");
  return object;
}

json filesOf(TChain &chain) {
  json out = json::array();
  TIter next(chain.GetListOfFiles());
  while (TObject *element = next())
    out.push_back({{"file", element->GetTitle()}, {"part", element->GetName()}});
  return out;
}

/// The friends of a chain. Of one that is a chain itself ROOT writes no more than the name: it may be in the file too.
json friendsOf(TChain &chain, TFile &file) {
  json out = json::array();
  if (!chain.GetListOfFriends()) return out;
  TIter next(chain.GetListOfFriends());
  while (auto *element = static_cast<TFriendElement *>(next())) {
    const std::string tree = element->GetTreeName(), name = element->GetTitle();
    json files = json::array();
    if (!name.empty()) {
      files.push_back({{"file", name}, {"part", tree}});
    } else if (std::unique_ptr<TChain> other(file.Get<TChain>(tree.c_str())); other) {
      files = filesOf(*other);
    }
    out.push_back({{"alias", element->GetName()}, {"part", tree}, {"key", nullptr}, {"files", files}});
  }
  return out;
}

json aliasesOf(TChain &chain) {
  json out = json::array();
  if (!chain.GetListOfAliases()) return out;
  TIter next(chain.GetListOfAliases());
  while (TObject *alias = next())
    out.push_back({{"n", alias->GetName()}, {"v", alias->GetTitle()}});
  return out;
}

json filesOf(TFileCollection &collection) {
  json out = json::array();
  std::string tree = collection.GetDefaultTreeName() ? collection.GetDefaultTreeName() : "";
  TIter next(collection.GetList());
  while (auto *info = static_cast<TFileInfo *>(next())) {
    TUrl *url = info->GetCurrentUrl();
    if (!url) continue;
    std::string part = tree;
    if (part.empty() && info->GetMetaDataList())
      if (TObject *meta = info->GetMetaDataList()->First()) part = meta->GetName();
    // An anchor names a tree, as for TChain::Add.
    if (const std::string anchor = url->GetAnchor(); !anchor.empty()) part = anchor;
    const bool local = std::string(url->GetProtocol()) == "file";
    url->SetAnchor("");
    out.push_back({{"file", local ? url->GetFile() : url->GetUrl()}, {"part", part}});
  }
  for (json &file : out) // the default is /dir/tree
    if (std::string part = file["part"]; part.rfind('/', 0) == 0) file["part"] = part.substr(1);
  return out;
}

json listOf(TEntryList &list) {
  std::vector<long long> entries;
  const long long n = list.GetN();
  entries.reserve(static_cast<size_t>(n));
  for (long long i = 0; i < n; ++i)
    entries.push_back(list.GetEntry(i));
  return {{"file", list.GetFileName()},
          {"part", list.GetTreeName()},
          {"runs", json::binary(encodeRuns(std::move(entries)))}};
}

json listsOf(TEntryList &list) {
  json out = json::array();
  if (!list.GetLists()) {
    out.push_back(listOf(list));
    return out;
  }
  TIter next(list.GetLists());
  while (auto *part = static_cast<TEntryList *>(next()))
    out.push_back(listOf(*part));
  return out;
}

json listOf(TEventList &list) {
  std::vector<long long> entries;
  for (int i = 0; i < list.GetN(); ++i)
    entries.push_back(list.GetEntry(i));
  return json::array({{{"file", ""}, {"part", ""}, {"runs", json::binary(encodeRuns(std::move(entries)))}}});
}

} // namespace

json listObject(const json &request, RootGuard &guard) {
  const std::string url = request.at("file");
  std::string name = request.at("object");
  std::unique_ptr<TFile> file = openInput(url, guard);
  std::unique_ptr<TObject> object = findLister(*file, name);
  json out{{"op", "listed"},      {"object", name},           {"class", object->ClassName()},
           {"inputs", nullptr},   {"friends", nullptr},       {"aliases", nullptr},
           {"lists", nullptr},    {"global", false}};
  if (auto *chain = dynamic_cast<TChain *>(object.get())) {
    out["inputs"] = filesOf(*chain);
    out["friends"] = friendsOf(*chain, *file);
    out["aliases"] = aliasesOf(*chain);
  } else if (auto *collection = dynamic_cast<TFileCollection *>(object.get())) {
    out["inputs"] = filesOf(*collection);
  } else if (auto *list = dynamic_cast<TEntryList *>(object.get())) {
    out["lists"] = listsOf(*list);
  } else if (auto *events = dynamic_cast<TEventList *>(object.get())) {
    out["lists"] = listOf(*events);
    out["global"] = true;
  }
  return out;
}

} // namespace dtpnode
