// Package rootcxx builds small C++ programs against a ROOT installation and keeps them: tests and the
// benchmark use it for the programs they compare dtpnode with.
package rootcxx

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// libs are linked into every program; the linker drops those it does not use.
var libs = []string{
	"Core", "RIO", "Net", "Hist", "Graf", "Graf3d", "Tree", "TreePlayer", "MultiProc", "MathCore", "Thread", "Imt",
}

// Build compiles source, the C++ text of the program called name, against the ROOT in rootDir, and
// returns the program's path within cacheDir. A program that was built before from the same text for the
// same ROOT is not built again. Concurrent calls, in other processes too, are safe.
func Build(ctx context.Context, rootDir, cacheDir, name string, source []byte) (string, error) {
	key := sha256.Sum256(append([]byte(rootDir+"\x00"+name+"\x00"), source...))
	dir := filepath.Join(cacheDir, fmt.Sprintf("%s-%x", name, key[:8]))
	program := filepath.Join(dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("could not create build directory %q: %w", dir, err)
	}
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("could not create build directory: %w", err)
	}
	defer os.RemoveAll(temp)
	text := filepath.Join(temp, name+".cxx")
	if err := os.WriteFile(text, source, 0o644); err != nil {
		return "", fmt.Errorf("could not write %q: %w", text, err)
	}
	if err := compile(ctx, rootDir, text, filepath.Join(temp, name)); err != nil {
		return "", fmt.Errorf("could not build %q: %w", name, err)
	}
	if err := os.Rename(filepath.Join(temp, name), program); err != nil {
		return "", fmt.Errorf("could not keep program %q: %w", program, err)
	}
	return program, nil
}

func compile(ctx context.Context, rootDir, source, out string) error {
	lib := filepath.Join(rootDir, "lib")
	args := []string{"-O2", "-Wall", "-I" + filepath.Join(rootDir, "include"), source, "-o", out,
		"-L" + lib, "-Wl,-rpath," + lib, "-Wl,--as-needed",
		// a relocated ROOT brings libraries of its own that only its loader finds
		"-Wl,--allow-shlib-undefined"}
	args = append(args, standard(ctx, rootDir))
	for _, l := range libs {
		args = append(args, "-l"+l)
	}
	args = append(args, "-pthread")
	if text, err := exec.CommandContext(ctx, "g++", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("g++: %w:\n%s", err, text)
	}
	return nil
}

// standard asks root-config for the C++ standard that ROOT's headers were configured for. It is asked for
// nothing else: the paths a relocated ROOT prints may not exist.
func standard(ctx context.Context, rootDir string) string {
	text, err := exec.CommandContext(ctx, filepath.Join(rootDir, "bin", "root-config"), "--cxxstandard").Output()
	if err != nil || len(text) < 2 {
		return "-std=c++17"
	}
	return "-std=c++" + string(text[:2])
}
