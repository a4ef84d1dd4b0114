package rootexec

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Generation is one running child with one selector object.
type Generation = child.Generation

// Told is what a generation of a selector is told beside what is so of every kind of work.
type Told struct {
	Option               string // GetOption() of the selector
	AllowMissingBranches bool   // let branches that a file lacks pass with a warning
	// Seed is that of gRandom, which then has a stream for each entry, the same whoever runs it; nil: a seed of chance
	Seed      *uint64
	Selection string            // path of an exec.Selection; empty: all entries of the files, and nothing beside them
	Dir       string            // the submitter's working folder, for relative names of friends
	Whole     bool              // no file is divided, but behind entries that went well
	Given     string            // path of the blob of given objects in fInput; empty for none
	Env       map[string]string // variables of the environment

	foresees bool          // looks what the first entries show of histograms
	next     []exec.Packet // where it looks when there are no more entries of the first packet's file
}

// Start forks a generation. It returns as soon as the child exists: SlaveBegin runs while the first
// packets are leased, and reports its failure to sink as everything later does.
func (s *Selector) Start(ctx context.Context, spec exec.GenSpec, told Told, sink exec.Sink) (*Generation, error) {
	return s.start(ctx, s.z, spec, told, sink)
}

// start is Start for a generation that is forked from z.
func (s *Selector) start(
	ctx context.Context, z *child.Zygote, spec exec.GenSpec, told Told, sink exec.Sink,
) (*Generation, error) {
	p, err := s.forkGeneration(ctx, z, spec)
	if err != nil {
		return nil, err
	}
	return child.Begin(p, spec, told.extend, sink)
}

// Probe tries a generation on the first entry of a file: SlaveBegin, Init, Notify, Process. It finds
// what would fail everywhere, a missing branch above all, before the work is dealt out.
func (s *Selector) Probe(ctx context.Context, spec exec.GenSpec, told Told, file, tree string) error {
	_, err := s.probe(ctx, s.z, spec, told, exec.Packet{File: file, Part: tree})
	return err
}

// Foresee is Probe of the first entry of the first packet. It goes on behind it, to the ends of the packets and for
// seconds at most, until histograms that find their limits from their first entries have found them, and returns these
// limits for all generations of the job. It also sees whether Init or Notify add to the output, which each process
// would do that reads a part of the file.
func (s *Selector) Foresee(
	ctx context.Context, spec exec.GenSpec, told Told, ps ...exec.Packet,
) (exec.Foreseen, error) {
	told.foresees, told.next = true, ps[1:]
	return s.probe(ctx, s.z, spec, told, ps[0])
}

// probe tries the first entry of a packet with a generation that is forked from z.
func (s *Selector) probe(
	ctx context.Context, z *child.Zygote, spec exec.GenSpec, told Told, pk exec.Packet,
) (out exec.Foreseen, err error) {
	p, err := s.forkGeneration(ctx, z, spec)
	if err != nil {
		return out, err
	}
	pk.ID, pk.Last = 1, pk.First+1
	if out, err = child.Try(ctx, p, spec, told.extend, pk); len(out.Hints) > exec.MaxHints {
		out.Hints = nil // merges join what generations find by themselves
	}
	if told.Whole {
		out.Whole = "" // it is known
	}
	return out, err
}

// extend adds to the request with which a generation begins what ROOT is told.
func (t Told) extend(b child.BeginFrame) any {
	return beginFrame{
		BeginFrame: b, Option: t.Option, Lax: t.AllowMissingBranches, Seed: t.Seed, Selection: t.Selection, Home: t.Dir,
		Whole: t.Whole, Given: t.Given, Env: t.Env, Trial: t.foresees,
		Next: nextFrames(t.next),
	}
}

func nextFrames(ps []exec.Packet) (out []nextFrame) {
	for _, p := range ps {
		out = append(out, nextFrame{File: p.File, Part: p.Part, First: p.First, End: p.End, Base: p.Base, Start: p.Start})
	}
	return out
}

// forkGeneration forks a process that works in the folder of spec, with data files of its own: what it writes to them
// must not reach others.
func (s *Selector) forkGeneration(
	ctx context.Context, z *child.Zygote, spec exec.GenSpec,
) (*child.Process, error) {
	if _, err := os.Stat(s.data); spec.Dir != "" && !errors.Is(err, fs.ErrNotExist) {
		if err := os.CopyFS(spec.Dir, os.DirFS(s.data)); err != nil {
			return nil, &exec.Failure{
				Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: "could not copy the data files: " + err.Error(),
			}
		}
	}
	// As in PROOF's sessions the folder of a package goes by its name.
	for _, pack := range s.packs {
		if spec.Dir == "" {
			break
		}
		if err := os.Symlink(pack.Dir, filepath.Join(spec.Dir, pack.Name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, &exec.Failure{
				Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: "could not link the package: " + err.Error(),
			}
		}
	}
	return z.Fork(ctx, roleGeneration)
}
