package rootexec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// The way of fInput: the parameters and the objects of files that the user gives stand in it when Begin runs. The
// objects are collected in a blob when the job is described, which travels with it. What Begin has made of fInput is a
// file, of which every generation is told; child/inputlist.h describes both. If both together are large, a process
// reads them once on each node, and the generations of the job are forked from that.

// InputFile names objects of a ROOT file that are to be in fInput.
type InputFile struct {
	Path  string   `json:"path" msgpack:"path"`
	Names []string `json:"names,omitempty" msgpack:"names,omitempty"` // with folders, as "dir/name"; empty for all
}

// ParamTypes are the types that a parameter may be given, after its name and a colon. Without one a number is found by
// a dynamic_cast to a TParameter of any type that can hold it, and by one to a TNamed; all else is a TNamed.
var ParamTypes = []string{"bool", "double", "float", "int", "long", "string"}

// ParamName divides what stands before the = of a parameter into its name and its type.
func ParamName(key string) (name, kind string) {
	name, kind, _ = strings.Cut(key, ":")
	return name, kind
}

// CheckParam returns an error if a parameter has no name, a type that there is not, or a value that is none of it.
func CheckParam(key, value string) error {
	name, kind := ParamName(key)
	var err error
	switch kind {
	case "string":
	case "bool":
		if !slices.Contains([]string{"0", "1", "true", "false"}, value) {
			err = errors.New("want true, false, 1 or 0")
		}
	case "double", "float":
		_, err = strconv.ParseFloat(value, 64)
	case "int":
		_, err = strconv.ParseInt(value, 10, 32)
	case "long":
		_, err = strconv.ParseInt(value, 10, 64)
	case "":
		if strings.Contains(key, ":") {
			return fmt.Errorf("%q has no type behind the colon: want one of %s", key, strings.Join(ParamTypes, ", "))
		}
	default:
		return fmt.Errorf("%q is no type of a parameter: want one of %s", kind, strings.Join(ParamTypes, ", "))
	}
	var num *strconv.NumError
	if errors.As(err, &num) {
		err = num.Err
	}
	switch {
	case name == "" || strings.ContainsAny(name, "\n"):
		return fmt.Errorf("%q is no name of a parameter", name)
	case err != nil:
		return fmt.Errorf("%q is no %s: %w", value, kind, err)
	}
	return nil
}

// paramFrames are parameters as a process is told of them.
func paramFrames(params map[string]string) []paramFrame {
	var out []paramFrame
	for key, value := range params {
		name, kind := ParamName(key)
		out = append(out, paramFrame{Name: name, Type: kind, Value: value})
	}
	slices.SortFunc(out, func(a, b paramFrame) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type))
	})
	return out
}

// collect puts objects of files into a blob at path, in a process of its own.
func (s *Selector) collect(ctx context.Context, files []InputFile, path string) error {
	p, err := s.z.Fork(ctx, roleCollector)
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := p.Call(ctx, collectFrame{Op: "collect", Files: files, Path: path})
	if err != nil {
		p.RemoveTemp(path)
		return err
	}
	var out collected
	if err := r.Decode(&out); err != nil {
		return err
	}
	if out.Objects == 0 {
		return &exec.Failure{
			Kind: exec.KindCode, Op: "--input", Entry: -1, Msg: "there is no object in " + files[0].Path,
		}
	}
	return nil
}

// shareAbove is from how many bytes on fInput is read once for all generations of a job on a node. What is smaller each
// of them reads in less time than a process takes to be forked.
const shareAbove = 1 << 20

// sharedInput is a process that has fInput in its memory and forks generations that share it. Each of them holds it,
// and so does the program that it belongs to.
type sharedInput struct {
	given, input string
	proc         *child.Process
	z            *child.Zygote

	mu   sync.Mutex
	held int
}

func (s *sharedInput) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
}

// letGo undoes one hold. The last one ends the process.
func (s *sharedInput) letGo() {
	s.mu.Lock()
	s.held--
	last := s.held == 0
	s.mu.Unlock()
	if last {
		s.z.Close()
		s.proc.Close()
	}
}

// inputs is what a program has for its generations beside the selector. The zero value is ready.
type inputs struct {
	mu     sync.Mutex
	shared *sharedInput // nil before it is needed
	over   bool         // the program was released
}

// shares returns the process that has a generation's fInput, which is held for the caller; nil if a generation is to
// read it itself.
func (in *inputs) shares(ctx context.Context, s *Selector, given, input string) (*sharedInput, error) {
	if sizeOf(given)+sizeOf(input) < shareAbove || input == "" {
		return nil, nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return nil, exec.ErrClosed
	}
	if old := in.shared; old != nil && (!old.z.Alive() || old.given != given || old.input != input) {
		in.shared = nil
		old.letGo()
	}
	if in.shared == nil {
		p, err := s.z.Fork(ctx, roleInput)
		if err != nil {
			return nil, err
		}
		if _, err := p.Call(ctx, inputFrame{Op: "input", Given: given, Input: input}); err != nil {
			p.Close()
			return nil, err
		}
		in.shared = &sharedInput{given: given, input: input, proc: p, z: p.Zygote(), held: 1}
	}
	in.shared.hold()
	return in.shared, nil
}

// release ends the process as soon as no generation needs it.
func (in *inputs) release() {
	in.mu.Lock()
	old := in.shared
	in.shared, in.over = nil, true
	in.mu.Unlock()
	if old != nil {
		old.letGo()
	}
}

// sizeOf is the size of a file, 0 if there is none.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// givenBlob is the blob of objects of files on this host.
type givenBlob struct {
	path string // empty for none
	own  bool   // it is removed with the program
}

// remove ends the use of the blob.
func (b givenBlob) remove() {
	if b.own {
		_ = os.Remove(b.path)
	}
}

// collected makes the blob of the objects that the user gives, or fetches that of the earlier job.
func (e *Executor) collected(ctx context.Context, s *Selector, spec Spec, r exec.Request) (b givenBlob, err error) {
	if len(spec.Inputs) > 0 {
		r.Tell("reading the objects of " + path.Base(spec.Inputs[0].Path))
		if b.path, err = e.tempName("given-"); err != nil {
			return b, err
		}
		b.own = true
		if err = s.collect(ctx, spec.Inputs, b.path); err != nil {
			b.remove()
		}
		return b, err
	}
	if r.Earlier == nil {
		return b, nil
	}
	if _, ok := r.Earlier.Work.Ship(inputBlob); ok {
		b.path, err = r.Earlier.FetchFile(ctx, inputBlob)
	}
	return b, err
}

// whyWhole says why no file of a job is divided; it is empty if files are.
func whyWhole(spec Spec, w work, src Source) string {
	switch {
	case !w.Whole:
		return ""
	case mayAbortFiles(src):
		return "the selector names kAbortFile"
	case addsPerFile(src):
		return "Init or Notify adds up something of each file"
	case spec.WholeFiles:
		return "as --whole-files asks for"
	}
	return "as in the earlier job"
}
