#include "outputfile.h"

#include <TFileCollection.h>
#include <TObject.h>
#include <dlfcn.h>

namespace dtpnode {

namespace {

/// As in rootexec/proof/src/TProofOutputFile.cxx, which is where the functions are.
struct PlainOutputFile {
  const char *path, *name, *dataset;
  int registers, overwrites;
};

using Describe = int (*)(const TObject *, PlainOutputFile *);
using Place = void (*)(TObject *, const char *, const char *);
using Take = TFileCollection *(*)(TObject *);

template <typename F>
F function(const char *name) {
  return reinterpret_cast<F>(::dlsym(RTLD_DEFAULT, name));
}

} // namespace

bool describeOutputFile(const TObject &object, OutputFile &out) {
  const auto describe = function<Describe>("dtpnode_output_file_describe");
  PlainOutputFile plain{};
  if (!describe || !describe(&object, &plain)) return false;
  out = {plain.path, plain.name, plain.dataset, plain.registers != 0, plain.overwrites != 0};
  return true;
}

void placeOutputFile(TObject &object, const std::string &path, const std::string &name) {
  if (const auto place = function<Place>("dtpnode_output_file_place"))
    place(&object, path.c_str(), name.c_str());
}

TFileCollection *takeFileCollection(TObject &object) {
  const auto take = function<Take>("dtpnode_output_file_take_collection");
  return take ? take(&object) : nullptr;
}

} // namespace dtpnode
