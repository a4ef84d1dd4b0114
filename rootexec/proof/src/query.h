// One query of a session: what runs over what.
#pragma once

#include "Rtypes.h"
#include "TString.h"

#include <map>
#include <string>
#include <vector>

class TClass;
class TDSet;
class TDSetElement;
class TList;
class TObject;
class TSelector;
class TTree;

namespace dtpnode {

class Session;

class Query {
 public:
  TDSet *set = nullptr;          // what it runs over, if it is neither a dataset nor cycles
  TTree *chain = nullptr;        // of which the set was made, if there is one
  std::string dataset;           // name of one, or several as PROOF took them
  Bool_t cycles = kFALSE;        // n cycles without a tree
  std::string selector;          // file, with + and options, or class
  TSelector *object = nullptr;   // in place of a file
  TString option;                // what GetOption() returns
  Long64_t n = -1, first = 0;    // entries, over all files
  TObject *entryList = nullptr;  // TEntryList or TEventList
};

/// The selector of a query, in this process: compiled and made, or the user's object.
class Selected {
 public:
  /// error says why there is none.
  explicit Selected(const Query &query);

  TSelector *selector = nullptr;
  std::string source, options, className, error;
  std::string library; // path of the one that has the class, if it has no source; source is empty then

 private:
  void fromObject(TSelector *given);
  void fromFile(const std::string &given);
};

/// The source file of a class that ACLiC compiled in this process; empty if it is not known.
std::string sourceOf(TClass &cls);

/// Whether a chain has no entry with a number. It opens files here as far as it takes to know that.
bool isPast(TTree &chain, Long64_t first);

/// Takes an object out of the directory that it was read into, which would delete it at its end.
void detach(TObject &object);

/// A file's absolute path or URL, without what PROOF put behind it.
std::string urlOf(const TDSetElement &element);

/// The arguments by which a job runs over a query's data, and what went wrong.
std::vector<std::string> dataArguments(const Query &query, Session &session, std::string &error);

/// Sets the members of a selector that point to objects of the output: those whose names the workers have noted, and
/// those that are called like their object.
void bindMembers(TSelector &selector, const TList &output, const std::map<std::string, std::string> &noted);

} // namespace dtpnode
