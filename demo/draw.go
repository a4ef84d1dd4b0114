package demo

import (
	"fmt"
	"math"
	"strings"

	"go-hep.org/x/hep/groot"
	"go-hep.org/x/hep/groot/rhist"
	"go-hep.org/x/hep/hbook"
	"go-hep.org/x/hep/hbook/rootcnv"
	"go-hep.org/x/hep/hplot"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
)

// readH1 reads a histogram from a ROOT file.
func readH1(path, name string) (h *hbook.H1D, err error) {
	defer recovered(&err, "read the histogram %q of %q", name, path)
	f, err := groot.Open(path)
	if err != nil {
		return nil, fmt.Errorf("could not open %q: %w", path, err)
	}
	defer f.Close()
	obj, err := f.Get(name)
	if err != nil {
		return nil, fmt.Errorf("could not read %q from %q: %w", name, path, err)
	}
	h1, ok := obj.(rhist.H1)
	if !ok {
		return nil, fmt.Errorf("could not draw %q of %q: it is a %s, no TH1", name, path, obj.Class())
	}
	return rootcnv.H1D(h1), nil
}

// savePNG draws a histogram with a logarithmic y axis.
func savePNG(h *hbook.H1D, path string) (err error) {
	defer recovered(&err, "draw %q", path)
	p := hplot.New()
	p.Title.Text = "Dimuon mass"
	p.X.Label.Text = "dimuon mass [GeV]"
	p.Y.Label.Text = "pairs"
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	p.Add(hplot.NewH1D(h, hplot.WithLogY(true)), hplot.NewGrid())
	p.Y.Max *= 2 // room above the peak
	if err := p.Save(20*vg.Centimeter, 13*vg.Centimeter, path); err != nil {
		return fmt.Errorf("could not write the picture %q: %w", path, err)
	}
	return nil
}

// recovered turns a panic into an error, since the libraries panic on some unusual files.
func recovered(err *error, format string, args ...any) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("could not "+format+": %v", append(args, r)...)
	}
}

// blocks draws a histogram in block characters with a logarithmic y axis, width columns by height rows, and the x axis
// below.
func blocks(h *hbook.H1D, width, height int) []string {
	sums := columns(h, width)
	top, low := 1.0, math.Inf(1)
	for _, s := range sums {
		top = max(top, s)
		if s > 0 {
			low = min(low, s)
		}
	}
	base := math.Floor(math.Log10(min(low, top)))
	span := max(math.Log10(top)-base, 1e-9)
	lines := make([]string, 0, height+2)
	for row := height - 1; row >= 0; row-- {
		label := "        "
		if row == height-1 || row == 0 {
			label = fmt.Sprintf("%8.3g", math.Pow(10, base+span*float64(row+row/(height-1))/float64(height)))
		}
		lines = append(lines, label+" |"+barRow(sums, base, span, row, height))
	}
	return append(lines, axis(h, width)...)
}

// barRow is one row of the bars, in eighths of a character.
func barRow(sums []float64, base, span float64, row, height int) string {
	eighths := []rune(" ▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, s := range sums {
		fill := 0.0
		if s > 0 {
			fill = (math.Log10(s)-base)/span*float64(height) - float64(row)
		}
		b.WriteRune(eighths[int(math.Round(8*min(max(fill, 0), 1)))])
	}
	return strings.TrimRight(b.String(), " ")
}

// columns sums neighbouring bins.
func columns(h *hbook.H1D, width int) []float64 {
	sums := make([]float64, width)
	bins := h.Binning.Bins
	for i, bin := range bins {
		sums[i*width/len(bins)] += bin.SumW()
	}
	return sums
}

// axis is the x axis with five numbers.
func axis(h *hbook.H1D, width int) []string {
	const parts = 5
	numbers := []byte(strings.Repeat(" ", width+8))
	ticks := []rune(strings.Repeat("-", width))
	for i := range parts + 1 {
		at := min(i*width/parts, width-1)
		ticks[at] = '+'
		copy(numbers[at:], fmt.Sprintf("%g", h.XMin()+(h.XMax()-h.XMin())*float64(i)/parts))
	}
	return []string{
		strings.Repeat(" ", 9) + "+" + string(ticks),
		strings.Repeat(" ", 10) + strings.TrimRight(string(numbers), " ") + " GeV",
	}
}
