package rootexec

import "github.com/dtpnode/dtpnode/exec/child"

// The frames that are ROOT's own, beside those of package child. child/protocol.h is the other side.

type loadFrame struct {
	Op    string `msgpack:"op"`
	So    string `msgpack:"so"`
	Dir   string `msgpack:"dir"`
	Class string `msgpack:"class"`
	// Macro is a source for ROOT's interpreter in place of So, Macros are further ones before it.
	Macro   string    `msgpack:"macro"`
	Macros  []string  `msgpack:"macros,omitempty"`
	Lacking bool      `msgpack:"lacking,omitempty"` // libraries may call functions that nothing defines
	Code    codeFrame `msgpack:"code"`
	Proof   string    `msgpack:"proof,omitempty"` // path of the library that stands for PROOF, if the code names it
}

// codeFrame is what is loaded beside a selector's own library. All paths are absolute.
type codeFrame struct {
	Includes []string       `msgpack:"includes,omitempty"` // folders of headers
	Packages []packageFrame `msgpack:"packages,omitempty"`
	Libs     []string       `msgpack:"libs,omitempty"`  // libraries of the user, in order
	Parts    []string       `msgpack:"parts,omitempty"` // libraries of further sources, in order
}

type packageFrame struct {
	Dir  string   `msgpack:"dir"`
	Name string   `msgpack:"name"`
	Args []string `msgpack:"args,omitempty"` // of SETUP()
}

// partFrame is one source that is compiled before the selector.
type partFrame struct {
	Sources string `msgpack:"sources"` // folder of Main
	Main    string `msgpack:"main"`    // base name
	Lib     string `msgpack:"lib"`     // without .so
}

// setupFrame asks a compiler to run SETUP() of packages.
type setupFrame struct {
	Op   string    `msgpack:"op"`
	Code codeFrame `msgpack:"code"`
}

type makeFrame struct {
	Op string `msgpack:"op"`
}

type planFrame struct {
	Op   string `msgpack:"op"`
	File string `msgpack:"file"`
	Tree string `msgpack:"tree"`
}

type compileFrame struct {
	Op      string `msgpack:"op"`
	Dir     string `msgpack:"dir"`     // of the library
	Sources string `msgpack:"sources"` // folder of Main
	Main    string `msgpack:"main"`    // base name
	Lib     string `msgpack:"lib"`
	CXX     string `msgpack:"cxx"`
	Options string `msgpack:"options"` // of Source
	Proof   string `msgpack:"proof"`   // folder of the headers that stand for PROOF's

	Parts []partFrame `msgpack:"parts,omitempty"`
	Code  codeFrame   `msgpack:"code"`
}

// beginFrame is child.BeginFrame with what ROOT's generations are told besides.
type beginFrame struct {
	child.BeginFrame
	Option    string            `msgpack:"option"`
	Lax       bool              `msgpack:"lax"`
	Seed      *uint64           `msgpack:"seed,omitempty"`
	Selection string            `msgpack:"selection,omitempty"` // path of an exec.Selection
	Home      string            `msgpack:"home,omitempty"`      // the submitter's working folder
	Whole     bool              `msgpack:"whole"`
	Given     string            `msgpack:"given,omitempty"` // path of the blob of given objects
	Env       map[string]string `msgpack:"env,omitempty"`   // variables of the environment
	Trial     bool              `msgpack:"trial,omitempty"` // look at what the first entries show of histograms

	Next []nextFrame `msgpack:"next,omitempty"` // and, behind the first packet's file, of these
}

// nextFrame is what a trial looks at of one more file.
type nextFrame struct {
	File  string `msgpack:"file"`
	Part  string `msgpack:"part"`
	First int64  `msgpack:"first"`
	End   int64  `msgpack:"end"`
	Base  int64  `msgpack:"base"`
	Start int64  `msgpack:"start"`
}

// listFrame asks a planner for an exec.Listing.
type listFrame struct {
	Op     string `msgpack:"op"`
	File   string `msgpack:"file"`
	Object string `msgpack:"object"`
}

// inputFrame has a process read fInput, for those that it forks then.
type inputFrame struct {
	Op    string `msgpack:"op"`
	Given string `msgpack:"given,omitempty"`
	Input string `msgpack:"input,omitempty"` // path of what Begin has made
}

// collectFrame has objects of files collected in a blob at Path.
type collectFrame struct {
	Op    string      `msgpack:"op"`
	Files []InputFile `msgpack:"files"`
	Path  string      `msgpack:"path"`
}

// collected is the answer to a collectFrame.
type collected struct {
	Objects int `msgpack:"objects"`
}

type mergeFrame struct {
	Op     string   `msgpack:"op"`
	Inputs []string `msgpack:"inputs"`
	Path   string   `msgpack:"path"`
	hintsFrame
}

// hintsFrame says what the generations of all partials have been told. Without it the partials say so themselves.
type hintsFrame struct {
	Hints *[]byte `msgpack:"hints,omitempty"` // may be empty bytes
	// Strict is as in exec.Foreseer.MergeForeseen; finishing, it is what exec.SessionSpec.Odd is not.
	Strict bool `msgpack:"strict,omitempty"`
}

// told are hints that are known.
func told(hints []byte) *[]byte {
	if hints == nil {
		hints = []byte{}
	}
	return &hints
}

type startFrame struct {
	Op      string       `msgpack:"op"`
	Option  string       `msgpack:"option"`
	Params  []paramFrame `msgpack:"params,omitempty"` // in the order of their names
	Given   string       `msgpack:"given,omitempty"`
	Dir     string       `msgpack:"dir"`
	Env     []string     `msgpack:"env,omitempty"`
	Seed    *uint64      `msgpack:"seed,omitempty"`
	Session bool         `msgpack:"session,omitempty"` // leaves Begin and Terminate to the user's process
	Path    string       `msgpack:"path"`              // where fInput is written
}

type paramFrame struct {
	Name  string `msgpack:"name"`
	Type  string `msgpack:"type,omitempty"`
	Value string `msgpack:"value"`
}

type finishFrame struct {
	Op       string   `msgpack:"op"`
	Partials []string `msgpack:"partials"`
	Path     string   `msgpack:"path"`
	Canvases []string `msgpack:"canvases,omitempty"` // formats
	Away     bool     `msgpack:"away,omitempty"`     // as in exec.SessionSpec
	Inputs   []string `msgpack:"inputs,omitempty"`   // local paths
	Outputs  string   `msgpack:"outputs,omitempty"`  // as OutputDir in exec.SessionSpec
	Mark     string   `msgpack:"mark,omitempty"`     // as in exec.SessionSpec
	hintsFrame
}

// planned is the answer to a planFrame.
type planned struct {
	Tree     string  `msgpack:"tree"`
	Entries  int64   `msgpack:"entries"`
	Clusters []int64 `msgpack:"clusters"`
	Bytes    int64   `msgpack:"bytes"`
	UUID     string  `msgpack:"uuid"`
}

// begun is the answer to a startFrame.
type begun struct {
	Objects int `msgpack:"objects"` // in fInput
}
