package demo

import (
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go-hep.org/x/hep/groot"
	"go-hep.org/x/hep/groot/rhist"
	"go-hep.org/x/hep/hbook"
)

// zPeak is a falling spectrum with a peak at 91 GeV, fixed.
func zPeak() *hbook.H1D {
	rng := rand.New(rand.NewPCG(1, 2))
	h := hbook.NewH1D(300, 0, 150)
	h.Annotation()["name"] = "mass"
	h.Annotation()["title"] = "Dimuon mass"
	for range 100_000 {
		h.Fill(rng.ExpFloat64()*25, 1)
	}
	for range 20_000 {
		h.Fill(91.2+2.5*rng.NormFloat64(), 1)
	}
	return h
}

func writeROOT(t *testing.T, h *hbook.H1D) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dimuon.root")
	f, err := groot.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put("mass", rhist.NewH1FFrom(h)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadH1(t *testing.T) {
	want := zPeak()
	path := writeROOT(t, want)
	got, err := readH1(path, "mass")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Binning.Bins) != 300 || got.XMin() != 0 || got.XMax() != 150 {
		t.Fatalf("got %d bins in [%g, %g]", len(got.Binning.Bins), got.XMin(), got.XMax())
	}
	for i, bin := range want.Binning.Bins {
		if got.Binning.Bins[i].SumW() != bin.SumW() {
			t.Fatalf("bin %d: got %g, want %g", i, got.Binning.Bins[i].SumW(), bin.SumW())
		}
	}
	if _, err := readH1(path, "none"); err == nil || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("missing histogram: %v", err)
	}
	if _, err := readH1(filepath.Join(t.TempDir(), "none.root"), "mass"); err == nil {
		t.Error("a missing file was read")
	}
}

func TestSavePNG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mass.png")
	if err := savePNG(zPeak(), path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil || img.Bounds().Dx() < 400 {
		t.Errorf("%v, %v", img.Bounds(), err)
	}
}

// TestBlocks wants the Z peak seen: the column of 91 GeV is higher than those of 75 and 110 GeV.
func TestBlocks(t *testing.T) {
	const width, height = 75, 14
	lines := blocks(zPeak(), width, height)
	if len(lines) != height+2 {
		t.Fatalf("%d lines", len(lines))
	}
	level := func(gev float64) float64 {
		at := int(gev/150*width) + 10
		sum := 0.0
		for _, l := range lines[:height] {
			r := []rune(l)
			if at < len(r) {
				sum += float64(strings.IndexRune(" ▁▂▃▄▅▆▇█", r[at])) / 3 / 8 // three bytes each
			}
		}
		return sum
	}
	if level(91) < level(75)+1 || level(91) < level(110)+1 {
		t.Errorf("no peak: %v at 75, %v at 91, %v at 110 GeV\n%s", level(75), level(91), level(110),
			strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if n := len([]rune(l)); n > width+20 {
			t.Errorf("a line of %d columns: %q", n, l)
		}
	}
	t.Log("\n" + strings.Join(lines, "\n"))
}

func TestBlocksOddities(t *testing.T) {
	one := hbook.NewH1D(7, 0, 1)
	one.Fill(0.5, 1)
	negative := hbook.NewH1D(100, 0, 1)
	negative.Fill(0.5, -3)
	for _, h := range []*hbook.H1D{hbook.NewH1D(100, 0, 1), one, negative} {
		for _, l := range blocks(h, 75, 14) {
			if strings.Contains(l, "NaN") || strings.Contains(l, "Inf") {
				t.Errorf("line %q", l)
			}
		}
	}
	if s := columns(one, 75); math.Abs(sum(s)-1) > 1e-12 {
		t.Errorf("columns hold %v entries", sum(s))
	}
}

func sum(v []float64) float64 {
	total := 0.0
	for _, x := range v {
		total += x
	}
	return total
}
