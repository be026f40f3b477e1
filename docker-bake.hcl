# All images at once: `docker buildx bake`. The release workflow adds platforms and pushes.
variable "REGISTRY" { default = "" } # with a slash at its end, as in docker.io/someone/
variable "VERSION" { default = "latest" }
variable "REVISION" { default = "unknown" }

group "default" { targets = ["torchserve", "gateway", "all-in-one"] }

target "common" {
  args = { VERSION = VERSION, REVISION = REVISION }
}

target "torchserve" {
  inherits   = ["common"]
  dockerfile = "handler/Dockerfile"
  target     = "torchserve"
  tags       = ["${REGISTRY}cifar10-torchserve:${VERSION}"]
}

target "all-in-one" {
  inherits   = ["common"]
  dockerfile = "handler/Dockerfile"
  target     = "all-in-one"
  tags       = ["${REGISTRY}cifar10:${VERSION}"]
}

target "gateway" {
  inherits   = ["common"]
  dockerfile = "gateway/Dockerfile"
  tags       = ["${REGISTRY}cifar10-gateway:${VERSION}"]
}
