// TProofOutputFile as this program knows it: by the functions with C names of the library that stands for PROOF.
#pragma once

#include <string>

class TFileCollection;
class TObject;

namespace dtpnode {

/// What a TProofOutputFile in an output list says of its file.
struct OutputFile {
  std::string path;    // of the file: absolute where it was written, and as the record is named once it is sealed
  std::string name;    // that the user wants the merged file to have: a path or a URL
  std::string dataset; // name of the data set that the files make, empty if they are merged
  bool registers = false, overwrites = false; // the data set is to be known by its name, in place of another
};

/// Reads a TProofOutputFile. False for any other object, and where the library is not loaded.
bool describeOutputFile(const TObject &object, OutputFile &out);
/// Says where the file lies now: path as in OutputFile, and, if it is not empty, what GetOutputFileName() returns.
void placeOutputFile(TObject &object, const std::string &path, const std::string &name);
/// The object's own list of files, which selectors may have given a default tree; null if it has none. It is the
/// caller's from now on.
TFileCollection *takeFileCollection(TObject &object);

} // namespace dtpnode
