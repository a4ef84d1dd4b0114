// The frames between dtpnode (Go) and its ROOT child that only ROOT has. Those that any child has, and the shared page,
// are described in exec/child/doc.go. The Go side is rootexec/frames.go.
//
//   role of base: selector planner compiler; of selector: generation input merger client check collector viewer; of
//   input: generation
//   selector
//     ->  load {so, macro, macros, dir, class, lacking, proof, code} <-  loaded {}, then it is a zygote
//         so is the library that was compiled of the selector, macro the source that the interpreter is to run in its
//         place, macros further such sources; both are empty where the class is in libraries of the user. lacking lets
//         libraries call functions that are nowhere.
//         code {includes, packages [{dir, name, args}], libs, parts}: folders of headers, packages in their folders
//         with what SETUP() is given, the user's libraries in the order of loading, libraries of further sources
//   check
//     ->  make {}                         <-  made {}
//   collector
//     ->  collect {files, path}           <-  collected {objects}   files are of {path, names}; see inputlist.h
//   input
//     ->  input {given, input}            <-  loaded {}, then it is a zygote whose generations share fInput
//   planner
//     ->  plan {file, tree}               <-  planned {tree, entries, clusters, bytes, uuid}
//     ->  list {file, object}             <-  listed {object, class, inputs, friends, aliases, lists, global}
//   compiler
//     ->  compile {dir, sources, main, lib, cxx, options, proof, parts [{sources, main, lib}], code} <- compiled {so}
//     ->  setup {code}                    <-  compiled {}
//   generation
//     ->  begin {..., option, lax, seed, selection, home, whole, given, trial}  fInput is made of the blob at input,
//                                         and of that of objects at given; part of a packet is the path of the tree;
//                                         with whole, no file is divided but behind what went well; with trial, done
//                                         tells what the first entries show of histograms, which hints tell others
//     ->  snapshot {id, names, most, path}  <-  snapped {id, units, left} or, if it failed, {id, units: -1, msg}
//   viewer
//     ->  pick {inputs, names, most, path}  <-  picked {units, canary, left}
//     ->  show {inputs, names, most, path}  <-  shown {units, canary, left, pictures}
//   merger
//     ->  merge {inputs, path}            <-  sealed {units, canary, apart, mixed}
//   client
//     ->  start {option, params, given, dir, env, seed, session, path}  <-  begun {objects}  fInput is then a blob at
//                                         path, unless either is empty; with session, Begin and Terminate run elsewhere
//     ->  finish {partials, path, canvases, away, inputs}
//                                         <-  finished {units, canary, apart, keys, objects, canvases, unsaved,
//                                             skipped, skippedfiles, skippedentries, files, left, notes}  as exec.Finished
//     ->  save {partials, path}           <-  finished {...}  in place of start and finish: no Terminate
//
// After a failure only a planner and a viewer go on.
#pragma once

#include "page.h"

namespace dtpnode {

/// What a process is doing; rootexec/driver.go has the names, in the same order.
enum class Phase : uint32_t {
  Idle,
  Construct,
  Begin,
  SlaveBegin,
  Open,
  Init,
  Notify,
  Read,
  Process,
  SlaveTerminate,
  Seal,
  Merge,
  Terminate,
  Write,
  Load,
  Compile,
  Plan,
};

} // namespace dtpnode
