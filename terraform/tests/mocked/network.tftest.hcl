# The ways in and out.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  image      = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/firemain:0.1.0"
  vpc_id     = "vpc-0a1b2c3d"
  subnet_ids = ["subnet-0a1b2c3d", "subnet-1a1b2c3d"]
}

run "endpoints" {
  command = apply

  variables {
    vpc_endpoints      = ["s3", "kinesis", "logs", "glue", "ecr_api", "ecr_dkr", "secretsmanager", "ssm"]
    route_table_ids    = ["rtb-0a1b2c3d"]
    egress_cidr_blocks = []
  }

  assert {
    condition = toset([for endpoint in concat(values(aws_vpc_endpoint.interface), aws_vpc_endpoint.s3) : endpoint.service_name]) == toset([
      for service in ["s3", "kinesis-streams", "logs", "glue", "ecr.api", "ecr.dkr", "secretsmanager", "ssm"] : "com.amazonaws.eu-west-1.${service}"
    ])
    error_message = "endpoints by the names that AWS has for them"
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled])
    error_message = "who asks for AWS is led to them"
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.https) == 0 && aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.0.0.0/16"
    error_message = "tasks reach endpoints and nothing else, and the VPC reaches them too"
  }
}
