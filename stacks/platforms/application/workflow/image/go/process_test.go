package main

import (
	"os"
	"strings"
	"testing"
)

func definition(inner string) []byte {
	return []byte(`<definitions xmlns="` + bpmn + `" xmlns:flowable="` + flowable + `" xmlns:xsi="` + instance + `">` + "\n" + inner + "</definitions>")
}

func whole(steps string) []byte {
	return definition(`<process id="p"><startEvent id="s"/><sequenceFlow id="f" sourceRef="s" targetRef="t"/>` + "\n" + steps + `</process>`)
}

func TestRoundTrip(t *testing.T) {
	if file := os.Getenv("DEFINITION"); file != "" {
		text, _ := os.ReadFile(file)
		found, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(file+".out", found.write(), 0o644)
	}
}

func TestWhatIsWrittenIsReadAgainAsTheSame(t *testing.T) {
	text := whole(`<userTask id="t" name="Check &amp; sign &lt;" flowable:candidateGroups="transport/bus, clerks" flowable:assignee="${who}">
<documentation>a "note" &#10; of two lines</documentation><extensionElements><flowable:formProperty id="street" writable="false"/>
<flowable:formProperty id="kind" type="enum" required="true"><flowable:value id="a"/><flowable:value id="b" name="B"/></flowable:formProperty>
</extensionElements></userTask><boundaryEvent id="late" attachedToRef="t" cancelActivity="false"><timerEventDefinition><timeDuration>PT2H</timeDuration></timerEventDefinition></boundaryEvent>
<exclusiveGateway id="g" default="no"/><endEvent id="e"><terminateEventDefinition/></endEvent><endEvent id="e2"/>
<sequenceFlow id="a" sourceRef="t" targetRef="g"/><sequenceFlow id="no" sourceRef="g" targetRef="e"/>
<sequenceFlow id="back" sourceRef="g" targetRef="t"><conditionExpression xsi:type="tFormalExpression">${kind == 'a' and not ok}</conditionExpression></sequenceFlow>
<sequenceFlow id="l" sourceRef="late" targetRef="e2"/>`)
	first, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	second, err := parse(first.write())
	if err != nil {
		t.Fatalf("%v\n%s", err, first.write())
	}
	if one, two := string(first.write()), string(second.write()); one != two {
		t.Fatalf("%s\n%s", one, two)
	}
	for _, part := range []string{`${kind == &#39;a&#39; &amp;&amp; ! ok}`, `cancelActivity="false"`, `transport/bus,clerks`} {
		if !strings.Contains(string(first.write()), part) {
			t.Errorf("%s is not in\n%s", part, first.write())
		}
	}
}

func TestHostileDefinitionsAreRefusedWithTheirPlace(t *testing.T) {
	task := `<userTask id="t"/>`
	for text, message := range map[string]string{
		`<scriptTask id="t" scriptFormat="groovy"><script>1</script></scriptTask>`: "3:1: <scriptTask> is not allowed",
		`<serviceTask id="t" flowable:class="java.lang.Runtime"/>`:                 "3:1: <serviceTask> is not allowed",
		`<serviceTask id="t" flowable:type="http"/>`:                               "<serviceTask> is not allowed",
		`<sendTask id="t" flowable:type="mail"/>`:                                  "<sendTask> is not allowed",
		`<callActivity id="t" calledElement="other"/>`:                             "<callActivity> is not allowed",
		`<subProcess id="t"/>`:                                                     "<subProcess> is not allowed",
		`<userTask id="t"><multiInstanceLoopCharacteristics><loopCardinality>9999999</loopCardinality></multiInstanceLoopCharacteristics></userTask>`: "<multiInstanceLoopCharacteristics> is not allowed",
		`<userTask id="t"><extensionElements><flowable:taskListener event="create" expression="${x.y()}"/></extensionElements></userTask>`:            "<taskListener> is not allowed",
		`<userTask id="t" name="${runtimeService}"/>`:                                                                                    "the name may not have an expression",
		`<userTask id="t" name="#{runtimeService}"/>`:                                                                                    "the name may not have an expression",
		`<userTask id="t"><documentation>${a.b}</documentation></userTask>`:                                                              "the documentation may not have an expression",
		`<userTask id="t" flowable:assignee="${a.b()}"/>`:                                                                                "the assignee is a name, or ${VARIABLE}",
		`<userTask id="t" flowable:assignee="${execution}"/>`:                                                                            "the assignee is a name, or ${VARIABLE}",
		`<userTask id="t" flowable:assignee="transport/bus/alice"/>`:                                                                     "the assignee is a name, or ${VARIABLE}",
		`<userTask id="t" flowable:candidateGroups="${groups}"/>`:                                                                        "expressions are not allowed",
		`<userTask id="t" flowable:formKey="x"/>`:                                                                                        "may not have the attribute flowable:formKey",
		`<userTask id="t" flowable:dueDate="${x}"/>`:                                                                                     "may not have the attribute flowable:dueDate",
		`<userTask id="t" flowable:async="true"/>`:                                                                                       "may not have the attribute flowable:async",
		`<userTask xmlns:x="http://activiti.org/bpmn" id="t" x:assignee="a"/>`:                                                           "may not have the attribute assignee of http://activiti.org/bpmn",
		`<userTask id="t"><extensionElements><x:formProperty xmlns:x="http://activiti.org/bpmn" id="a"/></extensionElements></userTask>`: "<formProperty> is not allowed",
		`<x:task xmlns:x="http://activiti.org/bpmn" id="t"/>`:                                                                            "<task> is not allowed",
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression xsi:type="tFormalExpression">${a.b}</conditionExpression></sequenceFlow>`:                                           `the condition may not have ".b"`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${a[0]}</conditionExpression></sequenceFlow>`:                                                                       `the condition may not have "[0]"`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${a()}</conditionExpression></sequenceFlow>`:                                                                        `the condition may not have "(" there`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${a:b(1)}</conditionExpression></sequenceFlow>`:                                                                     `the condition may not have ":b(1)"`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${true}${x}</conditionExpression></sequenceFlow>`:                                                                   `the condition may not have "}${x"`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${'a' == "\"}</conditionExpression></sequenceFlow>`:                                                                 "the condition may not have",
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${execution == 1}</conditionExpression></sequenceFlow>`:                                                             `may not have "execution" there`,
		task + `<sequenceFlow id="x" sourceRef="t" targetRef="t"><conditionExpression>${a ? b : c}</conditionExpression></sequenceFlow>`:                                                                  "the condition may not have",
		task + `<intermediateCatchEvent id="i"><timerEventDefinition><timeCycle>R/PT1S</timeCycle></timerEventDefinition></intermediateCatchEvent>`:                                                       "dates and cycles are not allowed",
		task + `<intermediateCatchEvent id="i"><timerEventDefinition><timeDuration>PT1S</timeDuration></timerEventDefinition></intermediateCatchEvent>`:                                                   "a timer is between a minute and ten years",
		task + `<intermediateCatchEvent id="i"><timerEventDefinition><timeDuration>${x}</timeDuration></timerEventDefinition></intermediateCatchEvent>`:                                                   "is no duration",
		task + `<intermediateCatchEvent id="i"><messageEventDefinition messageRef="m"/></intermediateCatchEvent>`:                                                                                         "<messageEventDefinition> is not allowed",
		`<exclusiveGateway id="t"/><sequenceFlow id="x" sourceRef="t" targetRef="t"/>`:                                                                                                                    "step t leads back to itself with no task between",
		`<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT5M</timeDuration></timerEventDefinition></intermediateCatchEvent><sequenceFlow id="x" sourceRef="t" targetRef="t"/>`:        "step t leads back to itself with no task between",
		task + `<boundaryEvent id="b" attachedToRef="t"><timerEventDefinition><timeDuration>PT5M</timeDuration></timerEventDefinition></boundaryEvent><sequenceFlow id="x" sourceRef="b" targetRef="t"/>`: "leads back to itself with no task between",
		task + `<sequenceFlow id="f" sourceRef="t" targetRef="t"/>`:                                                                                                                                       "the id f is there twice",
		task + `<startEvent id="s2"/>`: "has 2 start events",
		task + `<extensionElements><flowable:executionListener event="start" class="x"/></extensionElements>`: "<extensionElements> is not allowed",
	} {
		_, err := parse(whole(text))
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s\n  %v, not %s", text, err, message)
		}
	}
}

func TestBranchesAreBounded(t *testing.T) {
	// Each gateway doubles the branches that arrive.
	var steps strings.Builder
	steps.WriteString(`<parallelGateway id="t"/>`)
	before := "t"
	for _, name := range strings.Split("ghijklmn", "") {
		steps.WriteString(`<exclusiveGateway id="` + name + `"/>`)
		for _, way := range []string{"1", "2"} {
			steps.WriteString(`<sequenceFlow id="` + name + way + `" sourceRef="` + before + `" targetRef="` + name + `"/>`)
		}
		before = name
	}
	steps.WriteString(`<endEvent id="z"/><sequenceFlow id="x" sourceRef="n" targetRef="z"/>`)
	if _, err := parse(whole(steps.String())); err == nil || !strings.Contains(err.Error(), "more than 64 branches") {
		t.Error(err)
	}
	// Gateways that join what they have parted do not.
	steps.Reset()
	steps.WriteString(`<parallelGateway id="t"/>`)
	before = "t"
	for _, name := range strings.Split("ghijklmnoq", "") {
		steps.WriteString(`<parallelGateway id="` + name + `"/>`)
		for _, way := range []string{"1", "2"} {
			steps.WriteString(`<sequenceFlow id="` + name + way + `" sourceRef="` + before + `" targetRef="` + name + `"/>`)
		}
		before = name
	}
	steps.WriteString(`<endEvent id="z"/><sequenceFlow id="x" sourceRef="q" targetRef="z"/>`)
	if _, err := parse(whole(steps.String())); err != nil {
		t.Error(err)
	}
}

func TestFilesThatAreNoDefinition(t *testing.T) {
	for text, message := range map[string]string{
		`<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><definitions xmlns="` + bpmn + `"/>`:        "a document type is not allowed",
		`<definitions xmlns="` + bpmn + `"><process id="p"><startEvent id="&a;"/></process></definitions>`: "invalid character entity",
		`<definitions xmlns="` + bpmn + `"/>`: "the file has no process",
		`<definitions/>`:                      "the file is no BPMN 2.0",
		`{}`:                                  "the file has no element",
		`<definitions xmlns="` + bpmn + `"><process id="p">`:     "unexpected EOF",
		string(definition(`<error id="e"/>`)):                    "2:1: <error> is not allowed",
		string(definition(`<process id="p"/><process id="q"/>`)): "a file has one process",
		string(definition(`<process id="${x}"/>`)):               "is no id of a process",
	} {
		if _, err := parse([]byte(text)); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s\n  %v, not %s", text, err, message)
		}
	}
}
