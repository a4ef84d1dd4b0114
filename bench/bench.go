// Package bench measures dtpnode against two references: bare ROOT processes, which are the lower limit, and ROOT's own
// TTreeProcessorMP. A figure and its reference are measured in one interleaved run, so that other load on the machine
// affects both; the result is the median of the ratios of the pairs.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config says what Run measures.
type Config struct {
	ROOT   string       // directory of the ROOT installation
	Binary string       // path of the dtpnode executable; empty to measure only the references
	Dir    string       // work directory for data, libraries and the states of daemons; it is kept
	Data   string       // directory of the demo's data set, default Dir/data
	Pairs  int          // pairs of measurements for each figure, default 5, at least 1
	Cases  []string     // names of the cases to run, default all; see Cases
	JSON   string       // file for the report, if not empty
	Logger *slog.Logger // default: discards
}

func (c Config) withDefaults() (Config, error) {
	if c.Pairs == 0 {
		c.Pairs = 5
	}
	if c.Data == "" {
		c.Data = filepath.Join(c.Dir, "data")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ROOT == "" || c.Dir == "" || c.Pairs < 1 {
		return c, errors.New("could not start the benchmark: it needs a ROOT, a work directory and at least one pair")
	}
	known := Cases()
	for _, name := range c.Cases {
		if !slices.Contains(known, name) {
			return c, fmt.Errorf("could not find case %q: known are %s", name, strings.Join(known, ", "))
		}
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, fmt.Errorf("could not use directory %q: %w", c.Dir, err)
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return c, fmt.Errorf("could not use directory %q: %w", c.Data, err)
	}
	return c, nil
}

// benchCase measures one group of figures.
type benchCase struct {
	name string
	run  func(ctx context.Context, s *suite) ([]Result, error)
	bare bool // it also runs ROOT without dtpnode, which needs the selectors' libraries
}

func allCases() []benchCase {
	return []benchCase{
		{"steady", steady, true},
		{"treeprocessormp", treeProcessorMP, true},
		{"latency", latency, false},
		{"packets", packets, false},
		{"memory", memory, true},
		{"scaling", scaling, true},
	}
}

// chosen returns the cases to run.
func (c Config) chosen() []benchCase {
	return slices.DeleteFunc(allCases(), func(b benchCase) bool {
		return len(c.Cases) > 0 && !slices.Contains(c.Cases, b.name)
	})
}

// Cases returns the names of the cases in the order in which they run.
func Cases() []string {
	var names []string
	for _, c := range allCases() {
		names = append(names, c.name)
	}
	return names
}

// suite is what the cases share.
type suite struct {
	Config
	small, large []string // 4 and 16 million events
	work         string   // scratch folder of this run
}

// Run measures, printing a line for each figure as it comes, then a table. It returns an error if something could not
// be measured. A missed target is not an error; it is in the report.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	s := &suite{Config: cfg}
	if err := s.prepare(ctx, out); err != nil {
		return err
	}
	defer os.RemoveAll(s.work)
	report := Report{Started: time.Now(), Pairs: cfg.Pairs, Host: host(ctx, cfg.ROOT)}
	for _, c := range cfg.chosen() {
		fmt.Fprintf(out, "# %s\n", c.name)
		results, err := c.run(ctx, s)
		if err != nil {
			return fmt.Errorf("could not measure %q: %w", c.name, err)
		}
		for _, r := range results {
			r.judge()
			report.Results = append(report.Results, r)
			fmt.Fprintln(out, r)
		}
	}
	report.Table(out)
	return report.write(cfg.JSON)
}
