package serve

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strconv"
)

// body is what a request brings, if it is not too much; otherwise it is answered.
func body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, bool) {
	found, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, "(document)", "it has at most "+strconv.FormatInt(most, 10)+" bytes")
		return nil, false
	}
	return found, true
}

func answer(w http.ResponseWriter, code int, content any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(content)
}

// refuse answers with the reason, and with the field that it is in.
func refuse(w http.ResponseWriter, code int, field, reason string) {
	content := map[string]string{"reason": reason}
	if field != "" {
		content["field"] = field
	}
	answer(w, code, content)
}

func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "", "your app has nothing of this name")
}

// fail answers what is no fault of who asks. What the database says is for the log alone.
func fail(w http.ResponseWriter, err error) {
	log.Printf("database: %.500q", err.Error())
	refuse(w, http.StatusServiceUnavailable, "", "the database does not answer: try again")
}
