"""The service's task, run by the binary on this machine as ECS would: all of it is read from the task definition."""
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import boto3

LISTEN = "FIREMAIN_HTTP__LISTEN"


class Task:
    """Use as a context: the worker runs inside, and is stopped as a deployment stops it."""

    def __init__(self, firemain):
        definition = boto3.client("ecs").describe_task_definition(taskDefinition="firemain")["taskDefinition"]
        self.container = definition["containerDefinitions"][0]
        [self.program] = self.container["entryPoint"]
        self.firemain = firemain
        self.environment = {each["name"]: each["value"] for each in self.container["environment"]}
        secrets = boto3.client("secretsmanager")
        for each in self.container.get("secrets", []):
            self.environment[each["name"]] = secrets.get_secret_value(SecretId=each["valueFrom"])["SecretString"]
        role = boto3.client("sts").assume_role(RoleArn=definition["taskRoleArn"], RoleSessionName="task")["Credentials"]
        self.credentials = {
            "aws_access_key_id": role["AccessKeyId"], "aws_secret_access_key": role["SecretAccessKey"], "aws_session_token": role["SessionToken"],
        }
        # What the platform adds: where AWS is, and the role's credentials.
        self.environment |= {name.upper(): value for name, value in self.credentials.items()}
        self.environment["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
        # A task has its loopback for itself; here somebody else may have that port.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.environment[LISTEN] = f"127.0.0.1:{free.getsockname()[1]}"

    @property
    def destination(self):
        """Bucket and prefix of the lake."""
        return self.environment["FIREMAIN_DESTINATION"].removeprefix("s3://").split("/", 1)

    def client(self, service):
        """A client with the rights of the task."""
        return boto3.client(service, **self.credentials)

    def run(self, *command):
        """A one-off command, as `aws ecs run-task` with an override; what it prints."""
        ran = subprocess.run([self.firemain, *command], env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        if ran.returncode != 0:
            sys.exit(f"firemain {' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
        return ran.stdout.strip()

    def is_healthy(self):
        shell, program, *command = self.container["healthCheck"]["command"]
        assert (shell, program) == ("CMD", self.program), self.container["healthCheck"]
        return subprocess.run([self.firemain, *command], env=self.environment, capture_output=True, check=False).returncode == 0

    def read(self):
        """Records that the worker has read so far, by its metrics."""
        with urllib.request.urlopen(f"http://{self.environment[LISTEN]}/metrics", timeout=10) as page:
            return int(re.search(r"^firemain_data_read_from_kinesis_stream_records_total\{.*\} (\d+)", page.read().decode(), re.M)[1])

    def until(self, what, holds):
        end = time.monotonic() + 60
        while not holds():
            if time.monotonic() > end or self.worker.poll() is not None:
                self.worker.kill()
                sys.exit(f"not within a minute: {what}:\n{''.join(self.worker.communicate())}")
            time.sleep(0.3)

    def __enter__(self):
        command = [self.firemain, *self.container["command"]]
        self.worker = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.until("the health check says that it is well", self.is_healthy)
        return self

    def __exit__(self, failed, *_):
        self.worker.send_signal(signal.SIGKILL if failed else signal.SIGTERM)
        out, err = self.worker.communicate(timeout=self.container["stopTimeout"])
        if not failed and self.worker.returncode != 0:
            sys.exit(f"the worker ended with {self.worker.returncode}:\n{out}\n{err}")
