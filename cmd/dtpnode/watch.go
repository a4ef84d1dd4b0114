package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/dtpnode/dtpnode/cli/picture"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// watchFlags are those of watch, and with longer names of run.
type watchFlags struct {
	names []string
	file  string
	every time.Duration
}

func (w *watchFlags) add(f *pflag.FlagSet, file, every string) {
	f.StringVar(&w.file, file, "", "ROOT file that has the objects as they are, replaced whole each time")
	f.DurationVar(&w.every, every, 2*time.Second, "time between two snapshots, at least 1s")
}

// request is checked, and its file can be written.
func (w *watchFlags) request() (api.WatchRequest, error) {
	req := api.WatchRequest{Names: w.names, Every: w.every, File: w.file != ""}
	if err := req.Check(); err != nil {
		return req, usageError{err}
	}
	var err error
	w.file, err = submit.OutputPath(w.file)
	return req, err
}

// watchNames splits what the user wrote.
func watchNames(text string) (names []string) {
	for _, name := range strings.Split(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func newWatch(g *globals) *cobra.Command {
	var flags watchFlags
	var once bool
	cmd := &cobra.Command{
		Use:   "watch JOB NAME,...",
		Short: "Show histograms of a job while they are filled",
		Long: `watch shows named objects of the output of a job that runs, merged over all nodes, until the job ends: as
pictures on a terminal, a line each elsewhere, and with --file in a ROOT file that is replaced whole each time. In names
* and ? stand for any characters.

What is shown is an approximation. It counts whole packets of work, each once at most, as they were within the last
second or two; nodes and processes that do not answer in time, as in a long entry, are shown as they were before, or
are not in it. How many of the job's entries it counts is said, and so is what is not there. Trees, files and objects
of more than 8 MiB are left out. Watching takes less than two hundredths of the job's processors: if merging takes long,
snapshots come more rarely than every second. Who may see the job may watch it, from any node. A snapshot that is
late is told of, with what it waits for.

With --once it ends after one snapshot.

Exit status: 0 the job has ended, or one snapshot was shown, 1 error, 2 wrong usage, 130 interrupted.`,
		Example: "  dtpnode watch 3fa9 mass\n  dtpnode watch 3fa9 'h_*' --file now.root --every 10s",
		Args:    exactly("JOB", "NAME,..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.names = watchNames(args[1])
			req, err := flags.request()
			if err != nil {
				return err
			}
			client, err := g.client()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			s := newWatchScreen(g, flags.file)
			err = client.Watch(ctx, args[0], req, func(ev api.WatchEvent) error {
				if err := s.show(ev); err != nil {
					return err
				}
				if once && ev.Snapshot != nil {
					return errOnce
				}
				return nil
			})
			if errors.Is(err, errOnce) {
				return nil
			}
			return err
		},
	}
	flags.add(cmd.Flags(), "file", "every")
	cmd.Flags().BoolVar(&once, "once", false, "end after one snapshot")
	return cmd
}

var errOnce = errors.New("one snapshot was shown")

// watchScreen shows snapshots: in place on a terminal, as lines elsewhere, as JSON if that is asked for.
type watchScreen struct {
	g     *globals
	file  string
	size  func() (width, height int) // nil unless standard output is a terminal
	lines int                        // that the last snapshot has taken
	last  *api.Snapshot              // the last one, without its file; nil before the first
}

func newWatchScreen(g *globals, file string) *watchScreen {
	s := &watchScreen{g: g, file: file}
	if fd := int(g.stdout.Fd()); term.IsTerminal(fd) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != "" {
		s.size = func() (int, int) {
			if width, height, err := term.GetSize(fd); err == nil && width > 0 {
				return width, height
			}
			return 80, 24
		}
	}
	return s
}

func (s *watchScreen) show(ev api.WatchEvent) error {
	if ev.Snapshot != nil {
		if err := placeWatched(s.file, ev.Snapshot); err != nil {
			return err
		}
		ev.Snapshot.File = nil // it is in the file, or was not asked for
		s.last = ev.Snapshot
	}
	switch {
	case s.g.json():
		return json.NewEncoder(s.g.stdout).Encode(api.Listed(ev))
	case ev.Waits != "":
		fmt.Fprintln(s.g.stderr, watchLate(ev.Waits))
		s.lines = 0 // what is on the screen stays above that
	case ev.Snapshot == nil:
		if ev.Over != "" {
			fmt.Fprintf(s.g.stderr, "the job %s\n", ev.Over.Stands())
			for _, line := range endOfWatch(watchedSoFar{last: s.last}, s.file, "") {
				fmt.Fprintln(s.g.stderr, line)
			}
		}
	case s.size == nil:
		fmt.Fprintln(s.g.stdout, strings.Join(watchLines(ev.Snapshot), "\n"))
	default:
		s.redraw(ev.Snapshot)
	}
	return nil
}

// watchLate says that a snapshot is late.
func watchLate(why string) string {
	return "no new snapshot yet: " + progress.Clean(why)
}

// redraw draws over the snapshot before, as much as fits on the screen.
func (s *watchScreen) redraw(snap *api.Snapshot) {
	width, height := s.size()
	lines := watchPictures(snap, width, height-1)
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", min(s.lines, height-1))
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.g.stdout, b.String())
}

// placeWatched writes the objects of a snapshot to the file that the user has named, if any.
func placeWatched(path string, snap *api.Snapshot) error {
	if path == "" || len(snap.File) == 0 {
		return nil
	}
	err := durable.Place(path, func(f *os.File) error {
		_, err := f.Write(snap.File)
		return errors.Join(err, f.Chmod(0o644))
	})
	if err != nil {
		return fmt.Errorf("could not write what is watched: %w", err)
	}
	return nil
}

// watchHead says what a snapshot counts.
func watchHead(s *api.Snapshot) string {
	text := fmt.Sprintf("%s of %s entries (%s) at %s", progress.Count(s.Units), progress.Count(s.Of),
		progress.Percent(s.Units, s.Of), s.At.Local().Format(time.TimeOnly))
	if s.Nodes < s.OfNodes {
		text += fmt.Sprintf(", of %d of %d nodes", s.Nodes, s.OfNodes)
	}
	if s.Late > 0 {
		text += ", " + progress.Plural(s.Late, "process") + " in a long entry"
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"not there yet", s.Absent}, {"too large, or of a class that cannot be shown", s.Left}} {
		if len(list.names) > 0 {
			text += ", " + list.what + ": " + progress.Clean(strings.Join(list.names, ", "))
		}
	}
	return text
}

// watchLines is a snapshot as lines, for a log.
func watchLines(s *api.Snapshot) []string {
	lines := []string{watchHead(s)}
	for _, p := range s.Objects {
		lines = append(lines, "  "+picture.Line(p))
	}
	return lines
}

// watchPictures is a snapshot as pictures, of at most so many columns and lines. What does not fit has one line.
func watchPictures(s *api.Snapshot, width, height int) []string {
	lines := []string{picture.Cut(watchHead(s), width)}
	for i, p := range s.Objects {
		drawn := picture.Draw(p, width)
		if rest := len(s.Objects) - i - 1; len(lines)+len(drawn)+rest > height {
			drawn = drawn[:1]
		}
		lines = append(lines, drawn...)
	}
	return lines[:min(len(lines), max(height, 1))]
}

// withLate is the last snapshot, if there was one, and below it that the next is late.
func withLate(s *api.Snapshot, late string, width, height int) (lines []string) {
	if s != nil {
		lines = watchPictures(s, width, height-1)
	}
	return append(lines, picture.Cut(late, width))
}

// besideRun watches a job that run follows, until stop is called: pictures are shown below the bar of a terminal, lines
// among its lines elsewhere, and nothing in JSON, in which `dtpnode watch` prints them. stop says how far that went.
func besideRun(
	ctx context.Context, g *globals, client *api.Client, id string, w watchFlags, p printer,
) (stop func() watchedSoFar) {
	req, err := w.request()
	if err != nil || len(w.names) == 0 {
		return func() watchedSoFar { return watchedSoFar{} }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	below, drawn := p.(interface {
		Below(lines func(width, height int) []string)
	})
	var last *api.Snapshot
	failed := false
	go func() {
		defer close(done)
		err := client.Watch(ctx, id, req, func(ev api.WatchEvent) error {
			s := ev.Snapshot
			if s == nil && ev.Waits != "" && !g.json() {
				late, shown := watchLate(ev.Waits), last
				if !drawn {
					fmt.Fprintln(p, late)
					return nil
				}
				below.Below(func(width, height int) []string { return withLate(shown, late, width, height) })
			}
			if s == nil {
				return nil
			}
			if err := placeWatched(w.file, s); err != nil {
				return err
			}
			s.File, last = nil, s
			switch {
			case g.json():
			case drawn:
				below.Below(func(width, height int) []string { return watchPictures(s, width, height) })
			default:
				fmt.Fprintln(p, strings.Join(watchLines(s), "\n"))
			}
			return nil
		})
		if failed = err != nil && ctx.Err() == nil; !failed || g.json() {
			return
		}
		// Whether the job goes on is not known: the daemon may be gone.
		note := "note: the job cannot be watched any more: " + progress.Clean(err.Error())
		if drawn {
			below.Below(func(width, _ int) []string { return []string{picture.Cut(note, width)} })
		} else {
			fmt.Fprintln(p, note)
		}
	}()
	return func() watchedSoFar {
		cancel()
		<-done
		return watchedSoFar{last, failed}
	}
}
