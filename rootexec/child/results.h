// The files in which a job's output ends: the output list, and what generations have written to files of their own.
//
// The result, which nodes keep, is one file: the output list as a ROOT file, and behind it the other files, one after
// the other, if there are any. Then it ends with what lies where (exec.ReadResult reads it):
//
//   offset    size
//   0         m     the output list
//   ...             the other files
//   t         j     JSON: [{"name": ..., "offset": ..., "size": ...}, ...]
//   t+j       8     j, big-endian
//   t+j+8     8     m, big-endian
//   t+j+16    8     "DTPFILES"
#pragma once

#include "merge.h"

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

class TFile;
class TList;

namespace dtpnode {

class RootGuard;

/// What the submitting side writes.
class Results {
 public:
  /// The result goes to path; with an empty one nothing is kept, and what must be written on the way lies in beside.
  Results(std::string path, std::string beside, RootGuard &guard);
  ~Results();
  Results(const Results &) = delete;
  Results &operator=(const Results &) = delete;

  /// Takes the groups that are files. Large trees are merged into the result, and become objects of output, or of apart
  /// where they have to stand side by side; other files wait for place().
  void take(Merger &merger, const Merger::FileGroup &group, TList &output, std::vector<TObject *> &apart);

  /// Makes a tree in memory, of one of ROOT's own classes, a KeptTree, which it returns; what else there is it returns
  /// as it is.
  static TObject *keepInMemory(TObject *object);

  /// Where output files go.
  struct Places {
    bool write = false; // into the folder that the process is in; otherwise into the result alone
    bool away = false;  // the folder is not the user's own, so that no path of the user's leads anywhere
    std::string dir; // in place of that folder, where the user has named one for them; absolute
    std::vector<std::string> inputs; // local paths of the job's inputs, which no output replaces
    std::string mark = "1"; // of the files that this job writes; it replaces those that have the same (exec/placed.go)
  };
  /// Merges the output files and gives them their names, so that what follows can open them. TProofOutputFiles of the
  /// output list are told the names; those of data sets give way to a TFileCollection.
  void place(Merger &merger, TList &output, const Places &places);

  /// Writes the objects beside the large trees, and the files as they are now, and gives the result its name. Returns
  /// the number of objects.
  int write(Merger &merger, const std::vector<TObject *> &objects);

  /// What is said of output files in the answer "finished".
  nlohmann::json told() const;

 private:
  /// Under what name a group's files are wanted.
  struct Wanted {
    std::string name; // a path or an URL
    std::string dataset;
    bool registers = false, replaces = false; // the data set is to be known by its name, in place of another
  };
  /// One output file, of one pack of a group.
  struct File {
    std::string record;  // name of the group
    std::string name;    // relative, for whoever takes it out of the result
    std::string path;    // where it was written, absolute; empty if it is in the result alone
    std::string dataset; // that it is a part of
    std::string tree;    // the default one of the data set
    bool registers = false, replaces = false; // as in Wanted
    std::string note;    // what the user should know of it
    uint64_t offset = 0, size = 0; // in the result
    nlohmann::json trees = nlohmann::json::array();
  };
  using Write = std::function<bool(File &, const Merger::FileGroup &, const std::vector<Record> &, std::string &)>;

  TFile &main();
  TTree *keep(TTree *tree);
  static void dropOthers(TFile &file, const std::vector<TObject *> &objects);
  void eachFile(Merger &merger, const Places &places, const Write &write);
  void name(File &file, const Wanted &wanted, size_t number, const Places &places) const;
  std::string makeRoom(File &file) const;
  bool placeFile(Merger &merger, File &file, const Merger::FileGroup &group, const std::vector<Record> &pack,
                 std::string &why);
  void describe(File &file, const Span &span) const;
  void append(Merger &merger);
  void copyIn(File &file);
  void collect(TObject &object, const std::string &dataset, TList &output);
  Failure failure(const std::string &why) const;

  const std::string path_, beside_;
  RootGuard &guard_;
  std::string temp_; // path of what becomes the result; empty as long as there is nothing
  Fd fd_;
  std::shared_ptr<uint64_t> used_ = std::make_shared<uint64_t>(0);
  std::unique_ptr<TFile> main_;
  int keys_ = 0;
  std::vector<Merger::FileGroup> waiting_;
  std::map<std::string, Wanted> wanted_; // by the names of records
  std::string root_;                     // the folder of the files, where they are the user's
  std::string mark_;                     // as in Places
  bool placed_ = false;                  // the files are where the user wants them
  std::vector<File> files_;
};

} // namespace dtpnode
