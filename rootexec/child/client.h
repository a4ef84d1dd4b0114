// The submitting side of a job: Begin() before it, Terminate() and the output file after it.
#pragma once

#include "rootguard.h"

#include <TDirectory.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <set>
#include <string>
#include <vector>

class TList;
class TObject;
class TSelector;

namespace dtpnode {

class SelectorClass;
class StreamRandom;

class Client {
 public:
  Client(Channel &channel, RootGuard &guard, const SelectorClass &cls);
  int run();

 private:
  nlohmann::json handle(const nlohmann::json &request);
  nlohmann::json start(const nlohmann::json &request);
  nlohmann::json finish(const nlohmann::json &request, bool terminate);
  nlohmann::json save(const nlohmann::json &request);
  void terminate(nlohmann::json &reply, const nlohmann::json &request, long long status);
  std::set<std::string> listApart(TList &output);
  std::vector<TObject *> outputs() const;

  Channel &channel_;
  RootGuard &guard_;
  const SelectorClass &class_;
  TSelector *selector_ = nullptr;
  TList *input_ = nullptr;
  bool session_ = false; // Begin and Terminate run in the user's process
  StreamRandom *random_ = nullptr; // of a job with a seed
  std::optional<TDirectory::TContext> where_; // the current directory that Begin has left
  std::vector<TObject *> apart_; // what is not merged, of names that the output list has
  std::vector<TObject *> before_; // those that the list of each process has refused; what they are written before counts
};

} // namespace dtpnode
