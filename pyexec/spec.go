package pyexec

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/wire"
)

// Spec is what a user asks of Python, in a request. child/code.py says what code is.
type Spec struct {
	// Code is the path of a file on this host: a source if its name ends in .py, and otherwise an archive that the Python
	// package has made.
	Code string `json:"code,omitempty"`
	// Name is what the code is called in lists and tracebacks; empty: the name of the file.
	Name string `json:"name,omitempty"`
	// Items is how many items a job has that are only numbers; 0 for a job that is appended to, or has files.
	Items int64 `json:"items,omitempty"`
	// Env is the environment in which the code runs; nil for the node's own interpreter with what it has.
	Env *Env `json:"env,omitempty"`
	// Files are files of this host that stand, not to be written to, in the working folder of each process.
	Files []File `json:"files,omitempty"`
	// Values says of an archive that it keeps a value of each item, and has neither begin nor finish: it can be led by a
	// host that cannot run it.
	Values bool `json:"values,omitempty"`
}

// JSON is the spec as it stands in a request.
func (s Spec) JSON() json.RawMessage {
	b, _ := json.Marshal(s) // strings and numbers alone
	return b
}

// work is what other nodes are told of it, as msgpack (tasks.Work.Spec). The code is a blob.
type work struct {
	Form  string   `msgpack:"form"` // "source" or "archive"
	Name  string   `msgpack:"name"`
	Env   *workEnv `msgpack:"env"`   // nil for the node's own interpreter
	Files []string `msgpack:"files"` // names of files in working folders, whose blobs are fileBlob of their number

	Values bool `msgpack:"values,omitempty"` // as in Spec
}

// codeBlob is the blob with the code.
const codeBlob = "code"

const (
	formSource  = "source"
	formArchive = "archive"
)

// MaxCode bounds the bytes of code, which is in a daemon's memory while it is shipped.
const MaxCode = 64 << 20

// Describe loads code that the user has named.
func (r *Runtime) Describe(ctx context.Context, req exec.Request) (exec.Description, error) {
	var spec Spec
	if err := json.Unmarshal(req.Spec, &spec); err != nil {
		return exec.Description{}, fmt.Errorf("could not read what the job asks of Python: %w", err)
	}
	w, code, err := r.codeOf(ctx, spec, req.Earlier)
	if err != nil {
		return exec.Description{}, err
	}
	if req.LeadOnly && req.Earlier == nil && spec.Values {
		return leader{r.info.Version}.Describe(ctx, req)
	}
	tell := req.Tell
	if tell == nil {
		tell = func(string) {}
	}
	more, err := r.takeAlong(ctx, spec, req.Earlier, &w, tell)
	if err != nil {
		return exec.Description{}, err
	}
	tell("loading " + w.Name)
	p, err := r.load(ctx, w, code, &more, true)
	if err != nil {
		return exec.Description{}, err
	}
	return descriptionOf(p, w, code, more, spec, r.info)
}

// codeOf reads the code of a request, or of the job that it goes on with.
func (r *Runtime) codeOf(ctx context.Context, spec Spec, earlier *exec.Order) (w work, code []byte, err error) {
	if spec.Code == "" && earlier == nil {
		return w, nil, fmt.Errorf("the job names no code for Python")
	}
	if spec.Code == "" {
		if err := wire.Unmarshal(earlier.Work.Spec, &w); err != nil {
			return w, nil, fmt.Errorf("could not read what the earlier job asked of Python: %w", err)
		}
		code, err = earlier.Fetch(ctx, codeBlob)
		return w, code, err
	}
	return readCode(spec)
}

// readCode reads the code that a request names.
func readCode(spec Spec) (w work, code []byte, err error) {
	w = work{Form: formArchive, Name: spec.Name, Values: spec.Values}
	if strings.HasSuffix(spec.Code, ".py") {
		w.Form = formSource
	}
	if w.Name == "" {
		w.Name = filepath.Base(spec.Code)
	}
	info, err := os.Stat(spec.Code)
	if err != nil {
		return w, nil, fmt.Errorf("could not read the code: %w", err)
	}
	if info.Size() > MaxCode {
		return w, nil, fmt.Errorf("the code %q has %d bytes, and may have %d: what a function refers to travels with it; "+
			"hand large data over in start or in the items", spec.Code, info.Size(), MaxCode)
	}
	if code, err = os.ReadFile(spec.Code); err != nil {
		return w, nil, fmt.Errorf("could not read the code: %w", err)
	}
	return w, code, nil
}

// Prepare loads the code of a job that another node has submitted.
func (r *Runtime) Prepare(ctx context.Context, o exec.Order) (exec.Program, error) {
	var w work
	if err := wire.Unmarshal(o.Work.Spec, &w); err != nil {
		return nil, fmt.Errorf("could not read what the job asks of Python: %w", err)
	}
	if w.Form != formSource && w.Form != formArchive {
		return nil, fmt.Errorf("the job has code in the form %q, which this version of dtpnode does not know", w.Form)
	}
	code, err := o.Fetch(ctx, codeBlob)
	if err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	more, err := r.brought(ctx, o, w)
	if err != nil {
		return nil, err
	}
	p, err := r.load(ctx, w, code, &more, false)
	if err != nil {
		return nil, err
	}
	return p, nil
}
