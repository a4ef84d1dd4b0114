// fInput: what the user gives a selector, what its Begin() makes of it, and how every process comes by it.
//
// It begins with what the user has given: the parameters, and the objects of files, which are a blob (blob.h) that is
// made once and kept with the job. What Begin() has made of it is another blob. There an object of a file that Begin()
// has not changed is a TParameter<Long64_t> named kGivenObject, with its index in the blob of these, from 0, so that
// what is large travels once. A parameter that it has not changed is a TNamed named kGivenParameter, whose title has
// three lines: name, type and value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

class TList;
class TObject;

namespace dtpnode {

class RootGuard;

constexpr const char *kGivenObject = "dtpnode.given";
constexpr const char *kGivenParameter = "dtpnode.parameter";

/// Where fInput comes from.
struct InputSource {
  std::string given; // path of the blob of given objects; empty for none
  std::string begun; // path of what Begin() has made of it; empty for nothing at all

  /// As the fields given and input of a request.
  static InputSource of(const nlohmann::json &request);
  bool operator==(const InputSource &o) const { return given == o.given && begun == o.begun; }
};

/// The object of a parameter. type is one that the user has given; or empty; or "first double" or "first float" for a
/// number of which the user has given none, and that the code casts to a TParameter of that type. Throws Failure "code" for a value that is none of its type.
TObject *makeParameter(const std::string &name, const std::string &type, const std::string &value);

/// fInput before Begin(), and what was in it, so that what Begin() has not changed is known.
class GivenInput {
 public:
  /// params are of {name, type, value}; type is empty for a number or text, as it looks. given is the path of a blob,
  /// or empty.
  GivenInput(const nlohmann::json &params, const std::string &given, RootGuard &guard);

  TList *list() const { return list_; }
  /// Writes list(), as Begin() has left it, to path. Throws Failure "code" for what cannot be written.
  void write(const std::string &path, RootGuard &guard) const;

 private:
  const nlohmann::json params_;
  TList *list_;
  std::vector<TObject *> objects_; // of the parameters, then those of the blob
  std::vector<uint64_t> sums_; // of the bytes of each object, as they were before Begin()
};

/// fInput as Begin() has left it.
TList *readInput(const InputSource &source, RootGuard &guard);

/// Collects the objects of ROOT files, [{path, names}] with names empty for all of them, in a blob at path. A folder
/// becomes a TList of its name. Throws Failure "open" or "code" that names the file.
nlohmann::json collectObjects(const nlohmann::json &files, const std::string &path, RootGuard &guard);

} // namespace dtpnode
