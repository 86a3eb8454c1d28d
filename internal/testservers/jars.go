package testservers

import (
	"context"
	"crypto/sha256"
	_ "embed" // the pom
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// KafkaVersion is the release of Apache Kafka that tests run against; pom.xml names the same.
const KafkaVersion = "4.1.0"

//go:embed pom.xml
var pom []byte

// fetchTime is how long installing Java and fetching the jars may take.
const fetchTime = 8 * time.Minute

// Tools are Kafka's programs on this machine.
type Tools struct {
	Java string // the command
	Libs string // the directory of the jars
}

// Command is a Java program of Kafka's jars, for instance
// org.apache.kafka.tools.consumer.ConsoleConsumer.
func (t Tools) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, t.Java, t.argv(class, args...)...)
}

func (t Tools) argv(class string, args ...string) []string {
	return append([]string{"-cp", filepath.Join(t.Libs, "*"), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-XX:TieredStopAtLevel=1", class}, args...)
}

// KafkaTools finds or fetches Kafka's programs.
func KafkaTools(tb testing.TB) Tools {
	tb.Helper()
	tools, err := findTools(tb.Context())
	if err != nil {
		missing(tb, "Apache Kafka", err)
	}
	return tools
}

func findTools(ctx context.Context) (Tools, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	java, err := findJava(ctx)
	if err != nil {
		return Tools{}, err
	}
	libs, err := findJars(ctx)
	if err != nil {
		return Tools{}, err
	}
	return Tools{Java: java, Libs: libs}, nil
}

func findJava(ctx context.Context) (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if java, found := lookPath(filepath.Join(home, "bin", "java")); found {
			return java, nil
		}
	}
	return program(ctx, "java", "openjdk-17-jre-headless")
}

// program finds a program, or installs it.
func program(ctx context.Context, name, debian string) (string, error) {
	if path, found := lookPath(name); found {
		return path, nil
	}
	if err := install(ctx, debian); err != nil {
		return "", fmt.Errorf("%s is not there: %w", name, err)
	}
	path, found := lookPath(name)
	if !found {
		return "", fmt.Errorf("%s is not there, although the package %s is installed", name, debian)
	}
	return path, nil
}

// findJars returns the directory of the jars. They are copied beside it and moved into place, so
// that it is there with all of them or not at all.
func findJars(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	// Another pom is another directory.
	libs := filepath.Join(cache, fmt.Sprintf("kafka-%s-%.4x", KafkaVersion, sha256.Sum256(pom)))
	err = locked(ctx, "kafka", func() error {
		if _, err := os.Stat(libs); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		maven, err := program(ctx, "mvn", "maven")
		if err != nil {
			return err
		}
		work, err := os.MkdirTemp(cache, "kafka-fetching-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, maven, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs")
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("fetch Kafka's jars by Maven: %w\n%s", err, lastLines(out, 10))
		}
		return os.Rename(filepath.Join(work, "libs"), libs)
	})
	return libs, err
}
