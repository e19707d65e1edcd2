# A client that runs it grants the stop its time: examples/nomad/client.hcl.
job "web" {
  group "web" {
    network {
      mode = "host"
    }

    task "application" {
      driver = "exec"
      config {
        command = "/usr/bin/application"
      }
    }

    task "kuma-dp" {
      driver = "exec"

      # The leader is stopped first, and the application when it has ended.
      leader       = true
      kill_signal  = "SIGTERM"
      kill_timeout = "75s"

      artifact {
        source = "https://artefacts.example/kuma-dp-agent-0.2.0-linux-x64.tar.gz"
      }

      config {
        command = "local/kuma-dp-agent-0.2.0-linux-x64/bin/kuma-dp-agent"
        args = [
          "run", "--state-dir=${NOMAD_ALLOC_DIR}/kuma-dp-agent", "--",
          "/usr/bin/kuma-dp", "run",
          "--cp-address=https://cp.example:5678",
          "--dataplane-file=/etc/kuma-dp/dataplane.yaml",
          "--dataplane-token-file=/etc/kuma-dp/token",
          "--ca-cert-file=/etc/kuma-dp/ca.crt",
        ]
      }
    }
  }
}
