// The files that user code leaves in the working folder of a generation, and trees that are too large for memory.
#pragma once

#include "blob.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

class TCollection;
class TFile;
class TList;
class TObject;
class TTree;

namespace dtpnode {

/// Throws Failure "code" if an output list has a directory, or a list in it has one: ROOT writes one only as a part of
/// the file that it is in, and reading it back ends a process.
void refuseDirectories(const TCollection &output);

/// Watches over one working folder. ROOT files that appear in it are output of the generation; what else appears is
/// told by name, or by number where there are very many. Files that were there before, which the job shipped, are
/// neither.
class LocalFiles {
 public:
  /// Notes what is in the folder that the process is in.
  void begin();

  /// Moves trees of an output list that fill memory to files of the folder. Nothing happens to other trees and to
  /// those whose user has given them a file. Called now and then, since a tree may be added at any time.
  void spill(const TList &output);
  /// Warns the user of files that are open for writing elsewhere: all processes write to the one file, each over what
  /// the others have written.
  void warnOfOthers() const;
  /// Writes what the files that user code has left open hold in memory, as it would be lost otherwise, but closes
  /// none: what they own may be in the output list. Throws Failure "disk".
  void flush();
  /// Adds an output list to a blob, numbering objects of one name and class. A tree with a file of this object's
  /// becomes that file. TProofOutputFiles are told under which names their files are in the blob. parts are further
  /// objects, which are merged with the first of their name and class in the list; behind are others that follow it.
  void addObjects(BlobWriter &out, const TList &output, const std::vector<TObject *> &parts,
                  const std::vector<TObject *> &behind);
  /// Closes the files that are open, and adds all that are output to a blob. What cannot be read is told of as what is
  /// left. Call it last: closing a file ends what it owns.
  void addFiles(BlobWriter &out);

 private:
  struct Seen {
    unsigned long long inode, size;
    long long seconds, nanoseconds; // when it was changed last
  };
  struct Spilled {
    TTree *tree; // compared with trees of the output list, which may be deleted meanwhile
    Fd fd;
    std::unique_ptr<TFile> file;
    std::shared_ptr<uint64_t> used;
  };

  std::vector<std::string> walk(std::map<std::string, Seen> &found, long long &passedOver) const;
  std::vector<TFile *> openHere() const;
  std::string inside(const std::string &path) const;
  Spilled *spilled(const TObject &object);
  void addObject(BlobWriter &out, TObject &object, uint32_t ordinal);
  void addSpilled(BlobWriter &out, Spilled &s, uint32_t ordinal);
  static void note(std::map<std::string, long long> &files, const std::string &name);
  static void writeTimes(BlobWriter &out, const std::map<std::string, long long> &files, const char *record);

  std::string dir_; // absolute, without links
  std::map<std::string, Seen> before_; // by path in the folder
  std::map<std::string, std::string> uuids_; // of the ROOT files among them
  std::vector<Spilled> spilled_;
  std::map<std::string, std::string> classes_; // of records of files, by path in the folder
  std::map<std::string, long long> left_, changed_; // how often, by path in the folder
};

/// Whether a tree's baskets should not be kept in memory any more.
bool fillsMemory(TTree &tree);

/// Keeps trees of the output that are in no directory in memory. ROOT's Fill crashes for such a tree (SetDirectory(0))
/// when it is to write its baskets for the first time, so that one process, and a worker of PROOF, would end there.
void giveDirectories(const TCollection &output);

} // namespace dtpnode
