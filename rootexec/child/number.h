// A parameter whose type the user did not say.
#pragma once

#include <cstddef>

#include <TNamed.h>
#include <TParameter.h>
#include <string>

namespace dtpnode {

/// A number under a name, which is all that selectors look for: a TParameter of each of the types, and a TNamed whose
/// title is the number as the user wrote it. A dynamic_cast to any of these finds it, and so does a cast in the style
/// of C to a TNamed for GetTitle(), since that is virtual in TObject, and to a TParameter of the first type, whose
/// address stands in lists.
template <typename First, typename... Others>
class Number : public TParameter<First>, public TParameter<Others>..., public TNamed {
 public:
  template <typename Value>
  Number(const char *name, const char *text, Value value)
      : TParameter<First>(name, static_cast<First>(value)), TParameter<Others>(name, static_cast<Others>(value))...,
        TNamed(name, text) {}

  const char *GetName() const override { return TNamed::GetName(); }
  const char *GetTitle() const override { return TNamed::GetTitle(); }

  // Each base has these of TObject.
  static void *operator new(std::size_t n) { return ::operator new(n); }
  static void operator delete(void *p) { ::operator delete(p); }
};

} // namespace dtpnode
