"""Manifests as people have them, of which the doctor may not say what is not so.

They are written anew in the way of what the projects named in each test publish.
"""

import pytest

from baseload.doctor import examine, examining

LEADER = """
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: vllm}
spec:
  leaderWorkerTemplate:
    size: 2
    leaderTemplate:
      metadata: {labels: {role: leader}}
      spec:
        containers:
        - name: leader
          image: vllm/vllm-openai:v0.24.0
          resources: {limits: {nvidia.com/gpu: "8", memory: 1Ti}}
          ports: [{containerPort: 8080}]
          readinessProbe: {tcpSocket: {port: 8080}}
    workerTemplate:
      spec:
        containers: [{name: worker, image: "vllm/vllm-openai:v0.24.0", resources: {limits: {memory: 1Ti}}}]
---
apiVersion: v1
kind: Service
metadata: {name: vllm-leader}
spec:
  ports: [{port: 8080}]
  selector: {leaderworkerset.sigs.k8s.io/name: vllm, role: leader}
"""
CHART = """
apiVersion: v1
kind: Service
metadata: {name: engines, namespace: default}
spec: {selector: {app: e}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: engine}
spec:
  replicas: 2
  selector: {matchLabels: {app: e}}
  template:
    metadata: {labels: {app: e}}
    spec:
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]
      containers:
      - name: e
        image: nginx:1.27
        ports: [{name: http, containerPort: 80}]
        env: [{name: CACHE_KEY, value: v1}, {name: MAX_TOKENS, value: "4096"}]
        readinessProbe: {httpGet: {path: /, port: http}}
        resources: {limits: {cpu: "1", memory: 1Gi}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: e, namespace: default}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: e}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: e, namespace: default}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: engine}, minReplicas: 2, maxReplicas: 3}
"""
GRAFANA = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: grafana}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: g}}
  template:
    metadata: {labels: {app: g}}
    spec:
      containers:
      - name: g
        image: grafana/grafana:11.2.0
        ports: [{containerPort: 3000, name: http}]
        readinessProbe: {httpGet: {path: /api/health, port: http}}
        resources: {requests: {cpu: 100m}, limits: {memory: 512Mi}}
        volumeMounts: [{name: d, mountPath: /var/lib/grafana}]
      volumes: [{name: d, persistentVolumeClaim: {claimName: g}}]
"""
EXPORTER = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: node-exporter}
spec:
  selector: {matchLabels: {app: ne}}
  template:
    metadata: {labels: {app: ne}}
    spec:
      hostNetwork: true
      hostPID: true
      containers:
      - name: ne
        image: prom/node-exporter:v1.8.2
        resources: {limits: {cpu: 250m, memory: 180Mi}}
        volumeMounts: [{name: root, mountPath: /host/root, readOnly: true}]
      volumes: [{name: root, hostPath: {path: /}}]
"""


@pytest.mark.parametrize("text", [CHART, GRAFANA, EXPORTER, GRAFANA.replace("\n", "\r\n")])
def test_what_is_well_is_not_called_ill(text):
    """A chart's output that gives half of its objects a namespace; one pod with a disk; a node's own."""
    report = examine(text, "x.yaml")

    assert [] == [(each.rule, each.path) for each in report.findings if each.counts]


def test_labels_that_controllers_add_are_taken_for_right():
    """A service that selects the leader by a label that no template has is no orphan."""
    report = examine(LEADER, "x.yaml")
    found = {each.rule for each in report.findings}

    assert set() == {"service-orphan", "startup-missing"} & found
    assert ["leaderTemplate"] == [
        each.path.split(".")[2] for each in report.findings if each.rule == "prestop-missing"
    ]
    assert "service-orphan" in {
        each.rule for each in examine(LEADER.replace("vllm, role: leader", "vllm, role: x"), "x").findings
    }  # fmt: skip


def test_others_keep_what_they_may_do():
    """What is no model server keeps its rights and its user: an image like nginx's needs them."""
    kept = examine(CHART, "x.yaml").fixed
    confined = examine(CHART.replace("nginx:1.27", "vllm/vllm-openai:v0.24.0"), "x.yaml").fixed

    assert "securityContext" not in kept
    assert "runAsUser" not in confined
    assert "allowPrivilegeEscalation: false" in confined


def test_that_not_all_is_told_is_said(monkeypatch):
    """Findings are bounded in number; where there may be more, a note says so."""
    assert () == examine(GRAFANA, "x.yaml").notes
    monkeypatch.setattr(examining, "FINDINGS_MAX", 1)

    assert "the rest of the file is not looked at" in examine(GRAFANA, "x.yaml").notes[0]
