package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is one run of the benchmark. Its JSON is stable: fields are added, never renamed.
type Report struct {
	Started time.Time `json:"started"`
	Host    Host      `json:"host"`
	Pairs   int       `json:"pairs"`
	Results []Result  `json:"results"`
}

// Host says where a report was measured.
type Host struct {
	CPUs   int    `json:"cpus"`
	CPU    string `json:"cpu"`
	Memory string `json:"memory"`
	Load   string `json:"load"` // load average at the start
	ROOT   string `json:"root"` // version
}

// Summary summarises repeated measurements.
type Summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

// Result is one figure and its reference. Ratio is that of the pairs: measured / reference in the same pair.
type Result struct {
	Name      string   `json:"name"`
	Unit      string   `json:"unit"`
	Measured  *Summary `json:"measured,omitempty"`  // absent if only the reference was measured
	Reference *Summary `json:"reference,omitempty"` // absent if the target is for the figure itself
	Ratio     *Summary `json:"ratio,omitempty"`
	Target    float64  `json:"target,omitempty"` // upper limit of the median of Ratio, else of Measured; 0: none
	Pass      *bool    `json:"pass,omitempty"`
}

// summarize returns nil for no values.
func summarize(values []float64) *Summary {
	if len(values) == 0 {
		return nil
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return &Summary{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1], N: n}
}

// compare makes a result of pairs; measured is empty if only references were measured.
func compare(name, unit string, measured, reference []float64, target float64) Result {
	var ratios []float64
	for i := range measured {
		if i < len(reference) && reference[i] > 0 {
			ratios = append(ratios, measured[i]/reference[i])
		}
	}
	return Result{Name: name, Unit: unit, Measured: summarize(measured), Reference: summarize(reference),
		Ratio: summarize(ratios), Target: target}
}

// figure makes a result with a target of its own instead of a reference.
func figure(name, unit string, target float64, values ...float64) Result {
	return Result{Name: name, Unit: unit, Measured: summarize(values), Target: target}
}

func (r *Result) judge() {
	value := r.Ratio
	if r.Reference == nil {
		value = r.Measured
	}
	if value == nil || r.Target == 0 {
		return
	}
	pass := value.Median <= r.Target
	r.Pass = &pass
}

func (s *Summary) format(digits int) string {
	if s == nil {
		return "-"
	}
	if s.N == 1 {
		return fmt.Sprintf("%.*f", digits, s.Median)
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, s.Median, digits, s.Min, digits, s.Max)
}

// String is the result as one line.
func (r Result) String() string {
	return strings.Join(r.row(), "  ")
}

func (r Result) row() []string {
	target, verdict := "-", "-"
	if r.Target > 0 {
		target = fmt.Sprintf("<= %g", r.Target)
	}
	if r.Pass != nil {
		verdict = map[bool]string{true: "pass", false: "FAIL"}[*r.Pass]
	}
	return []string{r.Name, r.Unit, r.Measured.format(3), r.Reference.format(3), r.Ratio.format(3), target, verdict}
}

// Table prints the results for people.
func (r Report) Table(out io.Writer) {
	fmt.Fprintf(out, "\n%d CPUs (%s), %s, ROOT %s, load %s; medians (min-max) of %d pairs\n\n",
		r.Host.CPUs, r.Host.CPU, r.Host.Memory, r.Host.ROOT, r.Host.Load, r.Pairs)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tunit\tmeasured\treference\tratio\ttarget\t")
	for _, result := range r.Results {
		fmt.Fprintln(w, strings.Join(result.row(), "\t"))
	}
	w.Flush()
}

func (r Report) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("could not encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("could not write the report %q: %w", path, err)
	}
	return nil
}

func host(ctx context.Context, root string) Host {
	h := Host{
		CPUs:   runtime.NumCPU(),
		CPU:    procField("/proc/cpuinfo", "model name"),
		Memory: procField("/proc/meminfo", "MemTotal"),
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		h.Load, _, _ = strings.Cut(string(text), " ")
	}
	if text, err := exec.CommandContext(ctx, filepath.Join(root, "bin", "root-config"), "--version").Output(); err == nil {
		h.ROOT = strings.TrimSpace(string(text))
	}
	return h
}

// procField returns the value of the first line "key : value" of a /proc file.
func procField(path, key string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
