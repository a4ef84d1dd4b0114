#include "roles.h"

#include "client.h"
#include "code.h"
#include "feedback.h"
#include "generation.h"
#include "input.h"
#include "inputlist.h"
#include "listing.h"
#include "merge.h"
#include "proof.h"
#include "rootguard.h"
#include "selector.h"

#include <TFile.h>
#include <TInterpreter.h>
#include <TSystem.h>
#include <TTree.h>
#include <functional>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

// Answers requests with f until dtpnode is gone or, unless goOn, one fails.
int serve(Channel &channel, RootGuard &guard, Phase phase, bool goOn,
          const std::function<json(const json &)> &f) {
  json request;
  while (channel.read(request)) {
    json reply;
    bool failed = false;
    try {
      guard.clear();
      guard.run(phase, [&] { reply = f(request); });
    } catch (const Failure &failure) {
      reply = failureFrame(failure);
      failed = true;
    }
    if (!channel.write(reply) || (failed && !goOn)) break;
  }
  return 0;
}

json plan(const json &request, RootGuard &guard) {
  const std::string url = request.at("file");
  std::string path = request.at("tree");
  std::unique_ptr<TFile> file = openInput(url, guard);
  TTree *tree = findTree(*file, path, guard);
  const long long entries = tree->GetEntries();
  std::vector<long long> clusters;
  auto next = tree->GetClusterIterator(0);
  for (long long at; (at = next.Next()) < entries;)
    if (clusters.empty() || at > clusters.back())
      clusters.push_back(at); // FlushBaskets() leaves empty ones
  return {{"op", "planned"},
          {"tree", path},
          {"entries", entries},
          {"clusters", clusters},
          {"bytes", tree->GetZipBytes()},
          {"uuid", uuidOf(*file)}};
}

// Compiles one source in its folder into a library in dir, which ACLiC names after the source. Told a name for the
// library, it would overlook the header beside the source.
void compileSource(const std::string &folder, const std::string &source, const std::string &dir,
                   const std::string &how) {
  if (!gSystem->ChangeDirectory(folder.c_str())) throw Failure("disk", "could not enter " + folder);
  if (gSystem->CompileMacro(source.c_str(), how.c_str(), "", dir.c_str()) != 1)
    throw Failure("code", source + " does not compile");
}

// ACLiC writes beside the sources: dir is the library's final home, so that the paths inside it
// hold. Further sources come first and are loaded, so that what is compiled after them is linked with them.
json compile(const json &request) {
  const std::string dir = request.at("dir"), sources = request.at("sources");
  const std::string main = request.at("main"), lib = request.at("lib");
  const std::string cxx = request.value("cxx", "");
  if (!cxx.empty()) {
    TString make = gSystem->GetMakeSharedLib();
    make.ReplaceAll("; c++ ", ("; " + cxx + " ").c_str());
    gSystem->SetMakeSharedLib(make);
  }
  const std::string options = request.value("options", "");
  if (options == "Og") gSystem->SetFlagsOpt((std::string(gSystem->GetFlagsOpt()) + " -g").c_str());
  const std::string how = options == "g" ? "kgcf" : "kOcf";
  gSystem->SetBuildDir(dir.c_str(), true);
  gSystem->AddIncludePath(("-I\"" + sources + "\"").c_str());
  gInterpreter->AddIncludePath(sources.c_str());
  // Before ROOT's own folder, which may have headers of PROOF: the same code means the same with each ROOT.
  if (const std::string proof = request.value("proof", ""); !proof.empty())
    gSystem->AddIncludePath(("-I\"" + proof + "\"").c_str());
  loadCode(request.at("code"));
  for (const json &part : request.value("parts", json::array())) {
    compileSource(part.at("sources"), part.at("main"), dir, how);
    loadLibrary(dir + "/" + std::string(part.at("lib")) + ".so");
  }
  if (!main.empty()) compileSource(sources, main, dir, how);
  return {{"op", "compiled"}, {"so", dir + "/" + lib + ".so"}};
}

// Runs SETUP.C of packages once where they are built, so that what it compiles is there for all who load it later.
json setUp(const json &request) {
  loadCode(request.at("code"));
  return {{"op", "compiled"}, {"so", ""}};
}

Roles selectorRoles(const SelectorClass &selector);

int runSelector(Channel &channel, RootGuard &guard) {
  json request;
  if (!channel.read(request)) return 0;
  std::unique_ptr<SelectorClass> cls;
  try {
    guard.run(Phase::Load, [&] {
      try {
        loadProof(request.value("proof", ""));
        cls = std::make_unique<SelectorClass>(request);
      } catch (Failure &f) {
        if (!guard.firstError().empty()) f.msg += ": " + guard.firstError();
        throw;
      }
    });
  } catch (const Failure &f) {
    channel.write(failureFrame(f));
    return 0;
  }
  if (!channel.write({{"op", "loaded"}})) return 0;
  Zygote(channel, selectorRoles(*cls)).processRequests();
  return 0;
}

// The guard is for ever: handlers refer to it.
RootGuard &guardOf(Channel &channel, SharedPage *page, Fd pageFd) {
  return *new RootGuard(page, std::move(pageFd), &channel);
}

// A zygote of its own reads fInput: what user code does there crashes nothing else, and each process that is forked has
// all of it without another copy, until it writes to some of it.
int runInput(Channel &channel, RootGuard &guard, const SelectorClass &selector) {
  json request;
  if (!channel.read(request)) return 0;
  LoadedInput loaded{InputSource::of(request), nullptr};
  try {
    guard.run(Phase::Load, [&] { loaded.list = readInput(loaded.source, guard); });
  } catch (const Failure &f) {
    channel.write(failureFrame(f));
    return 0;
  }
  if (!channel.write({{"op", "loaded"}})) return 0;
  Zygote(channel, {{"generation"}, [&](const std::string &, Channel &c, SharedPage *page, Fd pageFd) {
                     return Generation(c, guardOf(c, page, std::move(pageFd)), selector, &loaded).run();
                   }}).processRequests();
  return 0;
}

Roles selectorRoles(const SelectorClass &selector) {
  return {{"generation", "input", "merger", "client", "check", "collector", "viewer"},
          [&selector](const std::string &role, Channel &channel, SharedPage *page, Fd pageFd) {
            RootGuard &guard = guardOf(channel, page, std::move(pageFd));
            if (role == "generation") return Generation(channel, guard, selector, nullptr).run();
            if (role == "input") return runInput(channel, guard, selector);
            if (role == "collector")
              return serve(channel, guard, Phase::Load, false,
                           [&](const json &r) { return collectObjects(r.at("files"), r.at("path"), guard); });
            if (role == "client") return Client(channel, guard, selector).run();
            if (role == "merger")
              return serve(channel, guard, Phase::Merge, false,
                           [&](const json &r) { return mergeTo(r, guard); });
            if (role == "viewer")
              return serve(channel, guard, Phase::Merge, true, [&](const json &r) { return view(r, guard); });
            return serve(channel, guard, Phase::Construct, false, [&](const json &) {
              selector.make();
              return json{{"op", "made"}};
            });
          }};
}

} // namespace

Roles baseRoles() {
  return {{"selector", "planner", "compiler"},
          [](const std::string &role, Channel &channel, SharedPage *page, Fd pageFd) {
            RootGuard &guard = guardOf(channel, page, std::move(pageFd));
            if (role == "selector") return runSelector(channel, guard);
            if (role == "compiler")
              return serve(channel, guard, Phase::Compile, false,
                           [](const json &r) { return r.at("op") == "setup" ? setUp(r) : compile(r); });
            return serve(channel, guard, Phase::Plan, true, [&](const json &r) {
              return r.at("op") == "list" ? listObject(r, guard) : plan(r, guard);
            });
          }};
}

} // namespace dtpnode
