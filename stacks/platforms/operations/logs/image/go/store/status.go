package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// A Report is what a shipper says of itself.
//
// Containers is how many it follows, Behind how many seconds ago the oldest line was written that is not stored yet;
// lines, bytes and gaps (places where lines may be missing) are those since it was started.
type Report struct {
	Node         string `json:"node"`
	Containers   int    `json:"containers"`
	Lines        int64  `json:"lines"`
	DroppedLines int64  `json:"dropped_lines"`
	DroppedBytes int64  `json:"dropped_bytes"`
	CutLines     int64  `json:"cut_lines"`
	Gaps         int64  `json:"gaps"`
	Behind       int64  `json:"behind_seconds"`
	Problem      string `json:"problem"`
	Heard        int64  `json:"heard"`
}

// shippers are those that were heard of lately, by node.
type shippers struct {
	mutex sync.Mutex
	known map[string]Report
}

// Seconds after which a node that is not heard of is forgotten: it is gone, or its shipper is told of by its pod.
const forgotten = 3600

func (s *shippers) heard(report Report) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	report.Heard = time.Now().Unix()
	s.known[report.Node] = report
}

func (s *shippers) list() []Report {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	list := []Report{}
	for node, report := range s.known {
		if report.Heard < time.Now().Unix()-forgotten {
			delete(s.known, node)
			continue
		}
		list = append(list, report)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Node < list[j].Node })
	return list
}

// figures are what was heard of the shippers by now, in the text format of metrics.
func (s *shippers) figures(now int64) string {
	reports := s.list()
	var text strings.Builder
	for _, series := range []struct {
		name, kind string
		of         func(Report) int64
	}{
		{"wecity_log_shipper_silent_seconds", "gauge", func(r Report) int64 { return now - r.Heard }},
		{"wecity_log_shipper_behind_seconds", "gauge", func(r Report) int64 { return r.Behind }},
		{"wecity_log_shipper_dropped_lines_total", "counter", func(r Report) int64 { return r.DroppedLines }},
		{"wecity_log_shipper_gaps_total", "counter", func(r Report) int64 { return r.Gaps }},
	} {
		fmt.Fprintf(&text, "# TYPE %s %s\n", series.name, series.kind)
		for _, report := range reports {
			fmt.Fprintf(&text, "%s{node=%q} %d\n", series.name, report.Node, series.of(report))
		}
	}
	return text.String()
}

// Status is what the server knows of itself. Times are in seconds since 1970, 0 for none.
//
// Began is when this volume got its first server. Oldest and Newest are the times of the lines. Limit is the number of
// bytes above which the oldest day is dropped; ReadOnly: the volume is full, and nothing is taken.
type Status struct {
	Version       string   `json:"version"`
	Now           int64    `json:"now"`
	RetentionDays int      `json:"retention_days"`
	Began         int64    `json:"began"`
	Oldest        int64    `json:"oldest"`
	Newest        int64    `json:"newest"`
	Days          []string `json:"days"`
	UsedBytes     int64    `json:"used_bytes"`
	LimitBytes    int64    `json:"limit_bytes"`
	ReadOnly      bool     `json:"read_only"`
	TooOld        int64    `json:"dropped_too_old"`
	TooNew        int64    `json:"dropped_too_new"`
	Shippers      []Report `json:"shippers"`
}

func statusOf(settings settings, heard *shippers) Status {
	values := figures()
	return Status{
		Version:       version(),
		Now:           time.Now().Unix(),
		RetentionDays: settings.days,
		Began:         began(settings.data),
		Oldest:        values["vl_storage_log_min_timestamp_seconds"],
		Newest:        values["vl_storage_log_max_timestamp_seconds"],
		Days:          days(settings.data),
		UsedBytes:     values[`vl_data_size_bytes{type="storage"}`] + values[`vl_data_size_bytes{type="indexdb"}`],
		LimitBytes:    settings.limit,
		ReadOnly:      values["vl_storage_is_read_only"] != 0,
		TooOld:        values[`vl_rows_dropped_total{reason="too_small_timestamp"}`],
		TooNew:        values[`vl_rows_dropped_total{reason="too_big_timestamp"}`],
		Shippers:      heard.list(),
	}
}

// figures are the server's own metrics, without the label of the path.
func figures() map[string]int64 {
	var text bytes.Buffer
	metrics.WritePrometheus(&text, false)
	found := map[string]int64{}
	for _, line := range strings.Split(text.String(), "\n") {
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || !strings.HasPrefix(line, "vl_") {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(line[:cut], `{path=`)
		found[name] = int64(value)
	}
	return found
}

// days are the names of the days of which there are logs, the oldest first.
func days(data string) []string {
	found, _ := filepath.Glob(filepath.Join(data, "partitions", "*"))
	list := []string{}
	for _, path := range found {
		list = append(list, filepath.Base(path))
	}
	sort.Strings(list)
	return list
}

// began returns when the volume got its first server, and notes it if this is the one. 0 if the volume is full.
func began(data string) int64 {
	path := filepath.Join(data, "began")
	if text, err := os.ReadFile(path); err == nil {
		if seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return seconds
		}
	}
	now := time.Now().Unix()
	if replace(path, []byte(strconv.FormatInt(now, 10)+"\n")) != nil {
		return 0
	}
	return now
}
