package rootexec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
)

// Kind is the word for jobs that ROOT runs.
const Kind = "ROOT"

// Finder finds installations of ROOT on this host. It is an exec.Finder.
type Finder struct {
	Prefixes []string // folders that the user named, the best first; empty: the usual places are looked at
	Cache    string   // where Install puts one
	Install  bool     // install one where none is found, and none was named
	None     bool     // the user wants no jobs of ROOT run here: none is looked for
	Log      *slog.Logger

	mu    sync.Mutex
	roots map[string]*Root // those that were found, by their folders
}

// Kind is that of all jobs that name a selector.
func (f *Finder) Kind() string { return Kind }

// IsNamed reports whether the user has named installations.
func (f *Finder) IsNamed() bool { return len(f.Prefixes) > 0 }

// Find lists the installations that the user named, one of each version, or the first that is found. The error is told
// beside what was found.
func (f *Finder) Find(ctx context.Context) ([]exec.Info, error) {
	if f.None {
		return nil, exec.Absent("ROOT is not used on this node (--root none)")
	}
	prefixes := f.Prefixes
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	var infos []exec.Info
	var errs []error
	known := map[string]string{} // folders by their versions
	for _, prefix := range prefixes {
		root, err := f.find(ctx, prefix)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch used := known[root.Version]; used {
		case "":
		case root.Dir:
			errs = append(errs, fmt.Errorf("--root %s is given twice", prefix))
			continue
		default:
			errs = append(errs, fmt.Errorf("ROOT %s in %s is not used: %s has that version too", root.Version, root.Dir, used))
			continue
		}
		known[root.Version] = root.Dir
		f.remember(root)
		infos = append(infos, infoOf(root))
	}
	if len(errs) == 1 {
		return infos, errs[0]
	}
	return infos, errors.Join(errs...)
}

func (f *Finder) find(ctx context.Context, prefix string) (*Root, error) {
	root, err := Find(ctx, FindOptions{Prefix: prefix, Cache: f.Cache})
	if errors.Is(err, ErrNoROOT) && f.Install && prefix == "" { // one that was named is not replaced
		root, err = Install(ctx, f.Cache, func(step string) { f.log().Info("installing ROOT", "step", step) })
	}
	return root, err
}

func (f *Finder) log() *slog.Logger {
	if f.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Log
}

func (f *Finder) remember(root *Root) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.roots == nil {
		f.roots = map[string]*Root{}
	}
	f.roots[root.Dir] = root
}

func infoOf(root *Root) exec.Info {
	return exec.Info{
		Kind: Kind, Version: root.Version, Platform: root.Platform, Dir: root.Dir,
		Capabilities: []string{arch(), exec.SelectionNeed, exec.NeedsInputFile, exec.NeedsWholeFiles},
	}
}

// rootOf is the installation in the folder of one that was found. After an attempt to open it that went wrong the
// folder is looked at anew, for its user may have mended it.
func (f *Finder) rootOf(ctx context.Context, info exec.Info) (*Root, error) {
	f.mu.Lock()
	root := f.roots[info.Dir]
	delete(f.roots, info.Dir) // Open remembers it when it works
	f.mu.Unlock()
	if root != nil {
		return root, nil
	}
	root, err := rootAt(ctx, info.Dir)
	if err != nil {
		return nil, err
	}
	if root.Version != info.Version {
		return nil, fmt.Errorf("%s has ROOT %s now, in place of %s: start the daemon again to use it", info.Dir, root.Version,
			info.Version)
	}
	return root, nil
}

// Open builds the child for one of the installations, once a host and ROOT, and starts the process that forks all
// others.
func (f *Finder) Open(ctx context.Context, info exec.Info, cfg exec.Config) (exec.Runtime, error) {
	root, err := f.rootOf(ctx, info)
	if err != nil {
		return nil, err
	}
	exe, err := BuildChild(ctx, root, cfg.Cache, func(step string) {
		if cfg.Log != nil {
			cfg.Log.Info("building the child", "root", root.Version, "step", step)
		}
		if cfg.Progress != nil {
			cfg.Progress(step)
		}
	})
	if err != nil {
		return nil, err
	}
	e, err := Open(ctx, Config{Exe: exe, Root: root, Scratch: cfg.Scratch, Cache: cfg.Cache, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	f.remember(root)
	return e, nil
}

// Counted reads the units and the canary that a partial's own objects show.
func (f *Finder) Counted(path string) (units int64, canary uint64, err error) { return Counted(path) }

// Claims reads which files and objects a partial has.
func (f *Finder) Claims(path string) ([]exec.Claim, error) { return Claims(path) }

// Suffix is that of ROOT files.
func (f *Finder) Suffix() string { return ".root" }
