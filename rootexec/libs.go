package rootexec

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/dtpnode/dtpnode/exec"
)

// Libraries of the user go to other nodes as they are, but for the paths by which some of them name others: the linker
// writes the path of a library that has no name of its own (SONAME), as those of ACLiC, into those that need it, where
// no other host has it. Such entries are made void. The libraries are loaded in an order in which each finds what it
// needs already there.

// readLibraries reads libraries, given in the order of loading, with the dictionaries beside them, into files.
func readLibraries(paths []string, r *sourceReader) (names []string, err error) {
	for _, p := range paths {
		name := path.Join(LibDir, filepath.Base(p))
		names = append(names, name)
		if err := r.read(name, p); err != nil {
			return nil, err
		}
		if r.files[name], err = withoutPaths(r.files[name]); err != nil {
			return nil, fmt.Errorf("could not use %q as a library: %w", p, err)
		}
		for _, beside := range besideLibrary(p) {
			if err := r.read(path.Join(LibDir, filepath.Base(beside)), beside); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}

// besideLibrary are the files that ROOT looks for beside a library: dictionaries and class maps.
func besideLibrary(lib string) []string {
	stem, _, _ := strings.Cut(filepath.Base(lib), ".so")
	dir := filepath.Dir(lib)
	out, _ := filepath.Glob(filepath.Join(dir, stem+"*_rdict.pcm")) // ACLiC adds to the name; a bad pattern finds none
	for _, name := range []string{stem + ".rootmap", strings.TrimPrefix(stem, "lib") + ".pcm"} {
		if exists(filepath.Join(dir, name)) {
			out = append(out, filepath.Join(dir, name))
		}
	}
	return out
}

// checkLibraries refuses libraries of another platform or of another ROOT than root, in the user's words.
func checkLibraries(src Source, root *Root) error {
	for _, name := range src.Libs {
		if err := checkLibrary(name, src.Files, root); err != nil {
			return &exec.Failure{
				Kind: exec.KindCode, Op: "load " + path.Base(name), Entry: -1, Msg: err.Error(),
			}
		}
	}
	return nil
}

func checkLibrary(name string, files map[string][]byte, root *Root) error {
	f, err := elf.NewFile(bytes.NewReader(files[name]))
	if err != nil {
		return fmt.Errorf("it is no library for Linux: %w", err)
	}
	defer f.Close()
	if want := machine(); f.Machine != want {
		return fmt.Errorf("it was built for another processor, %s, and this host has %s: give the sources, which are "+
			"compiled on each host, or a library that was built for it", processor(f.Machine), processor(want))
	}
	const advice = "build it anew with this one, or name that one with --root-version, if a node has it"
	if v := soVersion(f); v != "" && v != majorMinor(root.Version) {
		return fmt.Errorf("it was built with ROOT %s, and this is ROOT %s: %s", v, root.Version, advice)
	}
	stem, _, _ := strings.Cut(path.Base(name), ".so")
	for other, text := range files {
		base := path.Base(other)
		if !strings.HasPrefix(other, LibDir+"/"+stem) || !strings.HasSuffix(base, "_rdict.pcm") {
			continue
		}
		if v := pcmVersion(text); v != "" && majorMinor(v) != majorMinor(root.Version) {
			return fmt.Errorf("its dictionary, %s, was built with ROOT %s, and this is ROOT %s: %s", base, v, root.Version,
				advice)
		}
	}
	return nil
}

func machine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

func processor(m elf.Machine) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "EM_"))
}

// soVersion is the version of ROOT in the names of ROOT's libraries that a library needs, as in libCore.so.6.32; some
// installations of ROOT have none in them.
func soVersion(f *elf.File) string {
	needed, err := f.ImportedLibraries()
	if err != nil {
		return ""
	}
	for _, n := range needed {
		if v, ok := strings.CutPrefix(n, "libCore.so."); ok {
			return majorMinor(v)
		}
	}
	return ""
}

func majorMinor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// pcmVersion is the version of ROOT that wrote a dictionary's file, which is a ROOT file: 6.40.00. It is empty for
// other content.
func pcmVersion(pcm []byte) string {
	if len(pcm) < 8 || string(pcm[:4]) != "root" {
		return ""
	}
	v := binary.BigEndian.Uint32(pcm[4:]) % 1_000_000 // beyond are files with long pointers
	return fmt.Sprintf("%d.%02d.%02d", v/10_000, v/100%100, v%100)
}

// voidTag is a tag of the dynamic section that no loader looks at.
const voidTag = 0x6000000d // DT_LOOS, the first of those that systems may use

// withoutPaths returns a library whose entries for other libraries that are paths are void.
func withoutPaths(lib []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(lib))
	if err != nil {
		return nil, fmt.Errorf("it is no library for Linux: %w", err)
	}
	defer f.Close()
	if f.Type != elf.ET_DYN {
		return nil, errors.New("it is no shared library")
	}
	if f.Class != elf.ELFCLASS64 {
		return lib, nil // another processor's, which checkLibrary refuses
	}
	section := f.SectionByType(elf.SHT_DYNAMIC)
	if section == nil || section.Type == elf.SHT_NOBITS {
		return lib, nil
	}
	dynamic, err := section.Data()
	if err != nil {
		return nil, err
	}
	names, err := f.ImportedLibraries() // in the order of their entries
	if err != nil {
		return nil, err
	}
	out, at := lib, 0
	const size = 16 // tag and value
	for i := 0; i+size <= len(dynamic) && at < len(names); i += size {
		if elf.DynTag(f.ByteOrder.Uint64(dynamic[i:])) != elf.DT_NEEDED {
			continue
		}
		if strings.Contains(names[at], "/") {
			if &out[0] == &lib[0] {
				out = slices.Clone(lib)
			}
			f.ByteOrder.PutUint64(out[section.Offset+uint64(i):], voidTag)
		}
		at++
	}
	return out, nil
}

// freeOfPaths makes the libraries that were compiled in dir such that they can be loaded elsewhere.
func freeOfPaths(dir string) error {
	all, err := filepath.Glob(filepath.Join(dir, "*.so"))
	if err != nil {
		return err
	}
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("could not read what was compiled: %w", err)
		}
		free, err := withoutPaths(b)
		if err != nil || &free[0] == &b[0] {
			continue // nothing to change, or not for us to judge: it is loaded as it is
		}
		if err := os.WriteFile(file, free, 0o600); err != nil {
			return fmt.Errorf("could not write what was compiled: %w", err)
		}
	}
	return nil
}

// arch is the word with which a job with libraries asks for hosts that can load them.
func arch() string { return runtime.GOOS + "-" + runtime.GOARCH }

// needs are what nodes must offer that run the source.
func (s Source) needs(root *Root) []string {
	needs := []string{exec.Needed(Kind, root.Version)}
	if len(s.Libs) > 0 {
		needs = append(needs, arch())
	}
	return needs
}

// packLibraries packs the libraries of a source, which are large and stay the same while its code is worked on: a
// zstd-compressed tar.
func packLibraries(src Source) ([]byte, error) {
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(src.Files)) {
		if !isLibrary(name) {
			continue
		}
		b := src.Files[name]
		err = errors.Join(err, t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}))
		if err == nil {
			_, err = t.Write(b)
		}
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("could not pack the libraries: %w", err)
	}
	return buf.Bytes(), nil
}

// librariesKey names the libraries of a source, with what is beside them, by their content.
func librariesKey(src Source) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(src.Files)) {
		if isLibrary(name) {
			fmt.Fprintf(h, "%s %d\n", name, len(src.Files[name]))
			h.Write(src.Files[name])
		}
	}
	return "libraries " + hex.EncodeToString(h.Sum(nil))
}
